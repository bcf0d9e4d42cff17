"""Two documents of a finished run, filled in as far as it knows: a model card and the CLAIM 2024 checklist.

What a run cannot know (who, when, why, whose images) is marked `A person must fill in`; nothing is claimed that it did
not do. Model card: Mitchell et al. 2019, "Model Cards for Model Reporting" (FAT*). CLAIM: Tejani et al. 2024
(Radiology: Artificial Intelligence 6(4):e240300); its 44 items stand here in our words.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from typing import Any

import pandas as pd

from cxrjax import alexnet, markdown, rundir, statistics
from cxrjax.numerals import DASH, count, difference, interval, mean_sd, number, p_value, percent, spread, with_interval
from cxrjax.types import ExperimentConfig, Results, RunTables

# Name of a figure -> what a reader calls it.
LABELS = {
    "accuracy": "Accuracy",
    "fp_share": "False positives, share of all images",
    "fn_share": "False negatives, share of all images",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV among these images",
    "npv": "NPV among these images",
    "ppv_at_prevalence": "PPV at the stated prevalence",
    "npv_at_prevalence": "NPV at the stated prevalence",
    "f1": "F1",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "auprc": "Average precision",
    "brier": "Brier score",
    "ece": "Expected calibration error",
    "calibration_slope": "Calibration slope",
    "calibration_intercept": "Calibration intercept",
    "calibration_in_the_large": "Calibration in the large",
}
OF_SCORES = ("auroc", "auprc", "brier", "ece", "calibration_slope", "calibration_intercept", "calibration_in_the_large")
FLOORS = {
    "network": "this network",
    "majority": "always the commoner class",
    "metadata": "metadata without any pixel",
    "shuffled_labels": "trained on shuffled labels",
    "random_trunk": "frozen layers of random weights",
}
SUBGROUP_FIGURES = ("accuracy", "sensitivity", "specificity", "auroc")
_AGES = (0, 120)  # years; NIH has patients of 412, which are typing errors


def model_card(results: Results) -> str:
    """The run's `model_card.md`."""
    return markdown.render("model_card.md.jinja", **_facts(results))


def claim(results: Results) -> str:
    """The run's `claim_2024.md`: each item once, with a status of `reported`, `partly`, `a person must fill in` or
    `not applicable`."""
    return markdown.render("claim_2024.md.jinja", **_facts(results))


def command(config: ExperimentConfig) -> str:
    """The command line that makes the same run anew; what it does not name is at its default.

    >>> command(ExperimentConfig("p_vs_nf", "NF", data_dir="my NIH", seeds=3, flip=False))
    "python -m experiments.p_vs_nf --data_dir='my NIH' --seeds=3 --noflip"
    """
    words = [f"python -m experiments.{config.name}"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        # Repeated as it stands, --overwrite would remove what the card describes.
        if "help" not in field.metadata or value == field.default or field.name == "overwrite":
            continue
        if isinstance(value, bool):
            words.append(f"--{field.name}" if value else f"--no{field.name}")
        else:
            words.append(f"--{field.name}={shlex.quote(str(value))}")
    return " ".join(words)


def loading(config: ExperimentConfig) -> str:
    """Lines of Python that score images with the run's networks."""
    return (
        "from cxrjax import load_run\n\n"
        f"run = load_run({str(rundir.path(config))!r})  # this folder, wherever it lies now\n"
        "scores = run(images)  # uint8 [N, 256, 256] -> [N, seeds], 0..1"
    )


def _facts(results: Results) -> dict[str, Any]:
    """What both templates draw on; numbers are text already."""
    config, tables, floors = results.config, results.tables, _floors(results.analysis.floors)
    return {
        "config": config,
        "title": f"P vs {config.negative_class}",
        "command": command(config),
        "loading": loading(config),
        "known_patients": tables.images["patient"].nunique() < len(tables.images),
        "by_patient": config.split_by in ("patient", "both"),
        "packages": results.environment["packages"],
        "environment": results.environment,
        "settled": results.settled,
        "summary": results.summary,
        "network": _network(results),
        "data": _data(results),
        "runs": tables.seeds.assign(train_accuracy=tables.seeds["train_accuracy"].map(percent)).to_dict("records"),
        "sizes": {
            name: spread(tables.seeds[name], 1)
            for name in ("n_train", "n_val", "positives_train", "positives_val", "best_epoch")
        },
        "contaminated": percent(tables.seeds["contaminated_share"].mean()),
        "training": _on_training_images(tables.training),
        "threshold": spread(results.analysis.seeds["threshold"], 3),
        "flow": _flow(tables.flow),
        "partitions": _partitions(tables),
        "figures": {
            (data, rule): _figures(results.analysis.figures, data, rule)
            for data in ("internal", "external")
            for rule in ("fixed", "chosen")
        },
        "floors": floors,
        "ran": [row["label"] for row in floors if row["available"] and row["name"] != "network"],
        "not_run": [row["label"] for row in floors if not row["available"]],
        "floors_not_beaten": [
            row["label"] for row in floors if row["available"] and row["name"] != "network" and not row["beaten"]
        ],
        "leakage": _leakage(results.analysis.leakage),
        "subgroups": _subgroups(results.analysis.subgroups),
        "extremes": _extremes(results.analysis.subgroups),
        "errors": results.analysis.errors["kind"].value_counts().to_dict(),
    }


def _network(results: Results) -> dict[str, Any]:
    """Layers: frozen, retrained, and which of these begin at random (as `network.cut` fills them in)."""
    weights = results.environment["weights"]
    given = set(weights["layers"]) if weights else set()
    retrained = alexnet.layers_between(results.config.retrain_from, "fc8")
    return {
        "variant": weights["variant"] if weights else "torchvision",
        "weights": weights,
        "frozen": [name for name in alexnet.LAYERS if name not in retrained],
        "retrained": list(retrained),
        "fresh": [name for name in retrained if name not in given or name == "fc8"],
        "dropout": alexnet.DROPOUT,
        "dropped": [name for name in retrained if name in alexnet.WIDTHS],
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
        "bad": len(results.summary["bad_images"]),
        "images": len(images),
        "patients": images["patient"].nunique(),
        "positive": percent(results.tables.predictions["label"].mean()),
        "views": _shares(images["view"]),
        "external": None if external is None else _external(external),
    }


def _external(external: pd.DataFrame) -> dict[str, Any]:
    each = external.drop_duplicates("image")
    return {"images": len(each), "positives": int(each["label"].sum()), "patients": each["patient"].nunique()}


def _shares(values: pd.Series) -> str:
    """`PA 60.0 %, AP 30.0 %, unknown 10.0 %`, the commonest first."""
    found = values.replace("", "unknown").fillna("unknown").value_counts(normalize=True)
    return ", ".join(f"{name} {percent(share)}" for name, share in found.items()) or DASH


def _on_training_images(training: pd.DataFrame) -> dict[str, str]:
    """Accuracy at 0.5 and AUROC of each seed's training images, mean ± SD."""
    found = []
    for _, own in training.groupby("seed"):
        label, score = own["label"].to_numpy(), own["score"].to_numpy()
        decided = statistics.operating_point(label, (score > 0.5).astype(int))
        found.append({"accuracy": decided["accuracy"], "auroc": statistics.auroc(label, score)})
    table = pd.DataFrame(found)
    return {name: mean_sd(name, table[name].mean(), table[name].std()) for name in table}


def _flow(flow: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "stage": row["stage"],
            "excluded": bool(row["excluded"]),
            **{name: count(row[name]) for name in ("images", "positives", "negatives", "patients")},
        }
        for row in flow.to_dict("records")
    ]


def _partitions(tables: RunTables) -> list[dict[str, str]]:
    """Who is in training and in the internal test set: numbers a run, ages and shares over all runs' images."""
    rows = []
    for name, part in (("training", tables.training), ("internal test", tables.predictions)):
        known = part.drop(columns="patient").merge(tables.images, on="image", how="left", validate="many_to_one")
        runs = known.groupby("seed")
        age = known["age"].where(known["age"].between(*_AGES))
        median, low, high = (age.quantile(q) for q in (0.5, 0.25, 0.75))
        rows.append(
            {
                "name": name,
                "images": count(runs.size().mean()),
                "patients": count(runs["patient"].nunique().mean()),
                "positives": f"{count(runs['label'].sum().mean())} ({percent(known['label'].mean())})",
                "age": DASH if math.isnan(median) else f"{median:.0f} ({low:.0f} to {high:.0f})",
                "age_unknown": percent(age.isna().mean()),
                "sex": _shares(known["sex"]),
                "view": _shares(known["view"]),
            }
        )
    return rows


def _figures(table: pd.DataFrame, data: str, rule: str) -> dict[str, Any]:
    """Rows of `Analysis.figures` as text, by figure, and why some are undefined; of the chosen rule only decisions."""
    own = table[(table["data"] == data) & (table["rule"] == rule)].set_index("figure")
    names = [name for name in LABELS if name in own.index and (rule == "fixed" or name not in OF_SCORES)]
    rows, reasons = {}, []
    for name in names:
        row = own.loc[name]
        rows[name] = {
            "label": LABELS[name],
            "mean": mean_sd(name, row["mean"], row["sd"]),
            "runs": interval(name, row["low"], row["high"]),
            "pooled": number(name, row["pooled"]),
            "patients": interval(name, row["pooled_low"], row["pooled_high"]),
        }
        if row["undefined"]:
            reasons.append(f"{LABELS[name]}: {row['undefined']}")
    return {"rows": rows, "reasons": reasons}


def _floors(floors: pd.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for row in floors.to_dict("records"):
        of = {
            name: {
                "value": mean_sd(name, row[name], row[f"{name}_sd"]),
                "difference": difference(name, *(row[f"{name}_difference{end}"] for end in ("", "_low", "_high"))),
                "p": p_value(row[f"{name}_p"]),
            }
            for name in ("accuracy", "auroc")
        }
        available = bool(row["available"])
        rows.append(
            {
                "name": row["floor"],
                "label": FLOORS.get(row["floor"], row["floor"]),
                "available": available,
                "note": row["note"],
                "beaten": available and bool(row["beaten"]),
                **of,
            }
        )
    return rows


def _leakage(leakage: pd.DataFrame | None) -> list[dict[str, str]]:
    return [
        {
            "label": LABELS.get(row["figure"], "Validation images of patients also trained on"),
            "patient": number(row["figure"], row["patient"]),
            "image": number(row["figure"], row["image"]),
            "difference": difference(row["figure"], row["difference"], row["low"], row["high"]),
            "p": p_value(row["p"]),
        }
        for row in ([] if leakage is None else leakage.to_dict("records"))
    ]


def _subgroups(subgroups: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            **{name: row[name] for name in ("variable", "group", "images", "patients", "positives")},
            "small": bool(row["small"]),
            **{
                name: with_interval(name, *(row[f"{name}{end}"] for end in ("", "_low", "_high")))
                for name in SUBGROUP_FIGURES
            },
        }
        for row in subgroups.to_dict("records")
    ]


def _extremes(subgroups: pd.DataFrame) -> list[str]:
    """The groups, not small nor unknown, with the highest and the lowest AUROC: `view AP (0.812)`."""
    told = subgroups[~subgroups["small"].astype(bool) & (subgroups["group"] != "unknown")].dropna(subset=["auroc"])
    if len(told) < 2:
        return []
    ends = told.loc[[told["auroc"].idxmax(), told["auroc"].idxmin()]]
    return [f"{row['variable']} {row['group']} ({row['auroc']:.3f})" for row in ends.to_dict("records")]
