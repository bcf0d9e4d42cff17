"""Two documents of a finished run, in English, filled in as far as it knows: a model card and the CLAIM 2024 checklist.

What a run cannot know (who, when, why, whose images) is marked `A person must fill in`; nothing is claimed that it did
not do. Model card: Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*). CLAIM: Tejani et al. 2024
(Radiology: Artificial Intelligence 6(4):e240300); its 44 items stand here in our words.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from cxrjax.analysis import map_tests, scores, subgroups
from cxrjax.analysis.tables import FindingsResults, Results, RunTables
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig, command_line, program, result_path
from cxrjax.base.tasks import LabelClass, Task
from cxrjax.report import pages, rows
from cxrjax.report.figures.scores import stages_shown
from cxrjax.report.language import DASH, ENGLISH, note
from cxrjax.report.rows import CARD
from cxrjax.report.sections import dreams, findings


def model_card(results: Results | FindingsResults) -> str:
    """The run's `model_card.md`."""
    return pages.markdown("model_card.md.jinja", _facts(results))


def claim(results: Results | FindingsResults) -> str:
    """The run's `claim_2024.md`: each item once, with a status of `reported`, `partly`, `a person must fill in` or
    `not applicable`."""
    return pages.markdown("claim_2024.md.jinja", _facts(results))


def loading(config: ExperimentConfig, source: int) -> str:
    """Lines of Python that score images of `source` pixels a side with the run's networks."""
    of_all = tasks.get(config.task).is_multilabel and not config.finding
    shape = "[N, seeds, findings]" if of_all else "[N, seeds]"
    return (
        "from cxrjax import load_run\n\n"
        f"run = load_run({str(result_path(config))!r})  # this folder, wherever it lies now\n"
        f"scores = run(images)  # uint8 [N, {source}, {source}] -> {shape}, 0..1"
    )


def _facts(of_run: Results | FindingsResults) -> dict[str, Any]:
    """What both templates draw on; numbers are text already."""
    results = _as_one(of_run) if isinstance(of_run, FindingsResults) else of_run
    config, tables, analysis, task = results.config, results.tables, results.analysis, results.task
    contaminated = tables.seeds["contaminated_share"].mean()  # NaN where patients are unknown
    known_patients = not results.summary["data"]["patients_unknown"]
    floors = rows.records(analysis.floors)
    return results._asdict() | {
        "results": results,
        "task": task,
        "findings": findings.table(of_run, CARD.t) if isinstance(of_run, FindingsResults) else [],
        "mean_auroc": mean_auroc(of_run) if isinstance(of_run, FindingsResults) else DASH,
        "classes": classes(task),
        "outputs": outputs(config),
        "draw": draw(config),
        "loss": loss(config),
        "steps": steps(config),
        "command": command_line(config),
        "loading": loading(config, results.environment["network"]["source"]),
        "predict": program("predict"),
        "known_patients": known_patients,
        "by_patient": config.split_by in ("patient", "both"),
        "notes": [note(text, ENGLISH)["text"] for text in results.summary["notes"]],
        "data": _data(results),
        "sizes": {name: spread(tables.seeds[name], 1) for name in ("n_train", "n_val", "positives_val")},
        "contaminated": ENGLISH.share(contaminated) if contaminated >= 0 else "an unknown share",
        "training": on_training_images(tables.training),
        "threshold": spread(analysis.seeds["threshold"], 3),
        "flow": rows.records(stages_shown(tables.flow)),
        "partitions": partitions(tables, known_patients),
        "ran": _named(floors, "yes", "no", "unknown"),
        "not_run": _named(floors, "not_run"),
        "not_beaten": _named(floors, "no", "unknown"),
        "variables": [ENGLISH.word("variable", name) for name in analysis.subgroups["variable"].unique()],
        "extremes": extremes(analysis.subgroups),
        "errors": analysis.errors["kind"].value_counts().to_dict(),
        "dreams": [] if results.dreams is None else dreams.rows(results.dreams),
        "verdicts": [] if results.maps is None else map_tests.verdicts(results.maps.focus),
    }


def _as_one(results: FindingsResults) -> Results:
    """What its findings share as if it asked one question: whether any of them is present."""
    first, each = results.findings[0], [of_finding.tables for of_finding in results.findings]
    sides = {
        name: pd.concat([getattr(tables, name) for tables in each])
        .groupby(["seed", "image", "patient"], as_index=False, sort=False)
        .max()
        for name in ("training", "predictions")
    }
    images = pd.concat([tables.images for tables in each]).drop_duplicates("image")
    positives = {
        f"positives_{side}": first.tables.seeds["seed"].map(sides[name].groupby("seed")["label"].sum())
        for side, name in (("train", "training"), ("val", "predictions"))
    }
    seeds = first.tables.seeds.assign(**positives)
    tables = first.tables._replace(**sides, images=images, seeds=seeds, flow=results.flow)
    return first._replace(config=results.config, summary=results.summary, tables=tables)


def mean_auroc(results: FindingsResults) -> str:
    """AUROC averaged over the findings, mean ± SD over runs, with its interval."""
    mean = findings.table(results, CARD.t)[0]
    ends = CARD.interval("auroc", mean["low"], mean["high"])
    return CARD.mean_sd("auroc", mean["auroc"], mean["sd"]) + ("" if ends == DASH else f" ({ends})")


def classes(task: Task) -> pages.Markup:
    """Which images are positive and which negative."""
    if task.is_multilabel:
        return pages.Markup(
            "of each finding, positive where the label names it, negative where the label is there and does not"
        )
    positive, negative = rule_in_words(task.positive), rule_in_words(task.negative)
    return pages.Markup(f"positive where the label {positive}; negative where it {negative}")


def outputs(config: ExperimentConfig) -> str:
    """What the last layer gives."""
    task = tasks.get(config.task)
    if not task.is_multilabel:
        return "two outputs and softmax"
    of_finding = f", of which that of {config.finding} is meant here" if config.finding else ""
    return f"{task.outputs} outputs, each with a sigmoid{of_finding}"


def draw(config: ExperimentConfig) -> str:
    """Which of the images of the classes take part."""
    task = tasks.get(config.task)
    if task.is_multilabel:
        return "all images with a label, the same in each run"
    if config.match:
        return f"as many positives as negatives of each stratum of {config.match}, drawn anew for each run"
    negatives = f"{config.negatives} negatives"
    if config.negatives == "auto":
        negatives = "as many negatives as keep the ratio {} to {}, at most all".format(*task.negatives_per_positives)
    return f"all positives, and {negatives}, drawn anew for each run"


def loss(config: ExperimentConfig) -> str:
    """What training descends."""
    weights = {"class_weights": ", the rarer class weighing more", "w_cel": ", weighed by the classes of each batch"}
    is_multilabel = tasks.get(config.task).is_multilabel
    entropy = "binary cross-entropy, summed over the findings" if is_multilabel else "cross-entropy"
    return entropy + weights.get(config.loss, "")


def steps(config: ExperimentConfig) -> str:
    """How training descends, and for how long."""
    if config.head == "linear":
        return "solved by L-BFGS as an L2 logistic regression, whose strength folds of training patients choose"
    by_schedule = {"step": ", divided by 10 after each third of the steps", "cosine": ", which falls to 0 by a cosine"}
    parts = [
        "AdamW" if config.optimizer == "adamw" else "stochastic gradient descent",
        f"{'constant ' * (config.schedule == 'constant')}learning rate {config.learning_rate:g}"
        + by_schedule.get(config.schedule, ""),
        *([f"rising over the first {config.warmup_epochs}"] if config.warmup_epochs else []),
        *([f"momentum {config.momentum:g}"] if config.optimizer == "sgd" else []),
        f"weight decay {config.weight_decay:g}" if config.weight_decay else "no weight decay",
        *([f"gradients of norm {config.clip_norm:g} at most"] if config.clip_norm else []),
        f"batches of {config.batch_size}", f"{config.epochs} epochs",
    ]  # fmt: skip
    return ", ".join(parts)


def _named(floors: list[dict[Any, Any]], *outcomes: str) -> list[str]:
    return [ENGLISH.word("verdict_floor", row["floor"]) for row in floors if rows.outcome(row) in outcomes]


def _data(results: Results) -> dict[str, Any]:
    """What kind of images these are, and how many."""
    images, data, external = results.tables.images, results.summary["data"], None
    if results.tables.external is not None:
        once = results.tables.external.drop_duplicates("image")
        external = {
            "images": len(once),
            "positives": int(once["label"].sum()),
            "patients": "an unknown number of" if data.get("external_unknown") else once["patient"].nunique(),
            "copies": data.get("external_copies", 0),
            "enlarged": rows.enlarged(data.get("external_enlarged"), ENGLISH),
        }
    return {
        "phantom": results.config.data_dir is None,
        "nih": results.config.data_dir is not None and bool(images["image"].str.fullmatch(r"\d{8}_\d{3}\.png").all()),
        "source": data["source"],
        "counted": [(name, data["present"][name], data["listed"][name]) for name in data["listed"]],
        "made": data.get("made") or {},
        "enlarged": rows.enlarged(data.get("enlarged"), ENGLISH),
        "bad": len(data["bad_images"]),
        "positive": ENGLISH.share(results.tables.predictions["label"].mean()),
        "views": shares(images["view"]),
        "external": external,
    }


def rule_in_words(side: LabelClass) -> str:
    """Which labels make a class; continues `where the label`."""
    finding = pages.code(side.finding)
    texts = {
        "contains": f"contains {finding}",
        "exactly": f"is exactly {finding}",
        "without": f"is there and does not contain {finding}",
    }
    return pages.Markup(texts[side.rule])


def spread(values: pd.Series, digits: int) -> str:
    """One value, or the mean and the range of several.

    >>> spread(pd.Series([2, 2]), 1), spread(pd.Series([1, 2, 4]), 1)
    ('2', '2.3 (1 to 4)')
    """
    values = values.dropna().astype(float)
    if values.empty:
        return DASH
    low, mean, high = (
        ENGLISH.number(x, 0 if x.is_integer() else digits)
        for x in (float(values.min()), float(values.mean()), float(values.max()))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def shares(values: pd.Series) -> str:
    """`PA 60.0 %, AP 30.0 %, unknown 10.0 %`, the commonest first."""
    counts = values.replace("", subgroups.UNKNOWN).fillna(subgroups.UNKNOWN).value_counts(normalize=True)
    return ", ".join(f"{name} {ENGLISH.share(share)}" for name, share in counts.items()) or DASH


def on_training_images(training: pd.DataFrame) -> dict[str, str]:
    """Accuracy at 0.5 and AUROC of each seed's training images, mean ± SD."""
    table = scores.at_half(training)
    return {name: CARD.mean_sd(name, table[name].mean(), table[name].std()) for name in ("accuracy", "auroc")}


def partitions(tables: RunTables, known_patients: bool) -> list[dict[str, str]]:
    """Who is in training and in the internal test set: numbers a run, ages and shares over all runs' images."""
    parts = []
    for name, part in (("training", tables.training), ("internal test", tables.predictions)):
        images = part.drop(columns="patient").merge(tables.images, on="image", how="left", validate="many_to_one")
        runs = images.groupby("seed")
        age = subgroups.possible_age(images["age"])
        median, low, high = (age.quantile(q) for q in (0.5, 0.25, 0.75))
        parts.append(
            {
                "name": name,
                "images": ENGLISH.count(runs.size().mean()),
                "patients": ENGLISH.count(runs["patient"].nunique().mean()) if known_patients else "unknown",
                "positives": f"{ENGLISH.count(runs['label'].sum().mean())} ({ENGLISH.share(images['label'].mean())})",
                "age": DASH if math.isnan(median) else f"{median:.0f} ({low:.0f} to {high:.0f})",
                "age_unknown": ENGLISH.share(age.isna().mean()),
                "sex": shares(images["sex"]),
                "view": shares(images["view"]),
            }
        )
    return parts


def extremes(table: pd.DataFrame) -> list[str]:
    """The groups, not small nor unknown, with the highest and the lowest AUROC: `view AP (0.812)`."""
    large = ~table["small"].astype(bool) & (table["group"] != subgroups.UNKNOWN)
    large_groups = table[large].dropna(subset=["auroc"])
    if len(large_groups) < 2:
        return []
    ends = large_groups.loc[[large_groups["auroc"].idxmax(), large_groups["auroc"].idxmin()]]
    return [
        f"{ENGLISH.word('variable', row['variable'])} {row['group']} ({ENGLISH.number(row['auroc'])})"
        for row in ends.to_dict("records")
    ]
