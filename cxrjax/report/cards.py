"""Two documents of a finished run, filled in as far as it knows: a model card and the CLAIM 2024 checklist.

What a run cannot know (who, when, why, whose images) is marked `A person must fill in`; nothing is claimed that it did
not do. Model card: Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*). CLAIM: Tejani et al. 2024
(Radiology: Artificial Intelligence 6(4):e240300); its 44 items stand here in our words.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from cxrjax.analysis.schema import Results
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig, command_line, program, run_path
from cxrjax.report import card_rows, markdown
from cxrjax.report.numerals import percent, spread


def model_card(results: Results) -> str:
    """The run's `model_card.md`."""
    return markdown.render("model_card.md.jinja", **_facts(results))


def claim(results: Results) -> str:
    """The run's `claim_2024.md`: each item once, with a status of `reported`, `partly`, `a person must fill in` or
    `not applicable`."""
    return markdown.render("claim_2024.md.jinja", **_facts(results))


def loading(config: ExperimentConfig) -> str:
    """Lines of Python that score images with the run's networks."""
    return (
        "from cxrjax import load_run\n\n"
        f"run = load_run({str(run_path(config))!r})  # this folder, wherever it lies now\n"
        "scores = run(images)  # uint8 [N, 256, 256] -> [N, seeds], 0..1"
    )


def _facts(results: Results) -> dict[str, Any]:
    """What both templates draw on; numbers are text already."""
    config, tables, found = results.config, results.tables, results.analysis
    task = tasks.get(config.task)
    floors, subgroups = card_rows.floors(found.floors), card_rows.subgroups(found.subgroups)
    return {
        "config": config,
        "task": task,
        "title": task.title,
        "command": command_line(config),
        "loading": loading(config),
        "predict": program("predict"),
        "known_patients": tables.images["patient"].nunique() < len(tables.images),
        "by_patient": config.split_by in ("patient", "both"),
        "packages": results.environment["packages"],
        "environment": results.environment,
        "settled": results.settled,
        "summary": results.summary,
        "network": results.environment["network"] | {"weights": results.environment["weights"]},
        "data": _data(results),
        "runs": tables.seeds.assign(train_accuracy=tables.seeds["train_accuracy"].map(percent)).to_dict("records"),
        "sizes": {name: spread(tables.seeds[name], 1) for name in ("n_train", "n_val", "positives_val")},
        "contaminated": percent(tables.seeds["contaminated_share"].mean()),
        "training": card_rows.on_training_images(tables.training),
        "threshold": spread(found.seeds["threshold"], 3),
        "flow": card_rows.flow(tables.flow),
        "partitions": card_rows.partitions(tables),
        "figures": {
            (data, rule): card_rows.figures(found.figures, data, rule)
            for data in ("internal", "external")
            for rule in ("fixed", "chosen")
        },
        "floors": floors,
        "ran": [row["label"] for row in floors if row["outcome"] not in ("", "not run")],
        "not_run": [row["label"] for row in floors if row["outcome"] == "not run"],
        "not_beaten": [row["label"] for row in floors if row["outcome"] in ("no", "cannot be told")],
        "leakage": card_rows.leakage(found.leakage),
        "subgroups": subgroups,
        "variables": list(dict.fromkeys(row["variable"] for row in subgroups)),
        "extremes": card_rows.extremes(found.subgroups),
        "errors": found.errors["kind"].value_counts().to_dict(),
        "dreams": card_rows.dreams(results.dreams),
        "maps": card_rows.maps(results.maps),
    }


def _data(results: Results) -> dict[str, Any]:
    """What kind of images these are, and how many."""
    images, told = results.tables.images, results.summary["data"]
    external = results.tables.external
    names = images["image"].astype(str)
    return {
        "phantom": results.config.data_dir is None,
        "nih": results.config.data_dir is not None and bool(names.str.fullmatch(r"\d{8}_\d{3}\.png").all()),
        "source": told["source"],
        "listed": told["listed"],
        "present": told["present"],
        "made": told.get("made") or {},
        "bad": len(told["bad_images"]),
        "positive": percent(results.tables.predictions["label"].mean()),
        "views": card_rows.shares(images["view"]),
        "external": None if external is None else _external(external),
    }


def _external(external: pd.DataFrame) -> dict[str, Any]:
    each = external.drop_duplicates("image")
    return {"images": len(each), "positives": int(each["label"].sum()), "patients": each["patient"].nunique()}
