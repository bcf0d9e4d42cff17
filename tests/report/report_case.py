"""Results of a run as `experiment.run` would give them, made of invented tables by the true analysis."""

import dataclasses
import functools

import numpy as np

from cxrjax.analysis import analyse, curves
from cxrjax.analysis.tables import Results
from tests.analysis import run_tables
from tests.report import made_results

ATTACK = '<img src=x onerror="alert(1)">'
NOTE = "phantom"


@functools.cache
def results() -> Results:
    """Four seeds, an external set, all floors and the leakage arm; one image's name, label and view attack the page."""
    case = run_tables.case()
    config = dataclasses.replace(
        case.config, data_dir=f"nih/{ATTACK}", external_dir=f"elsewhere/{ATTACK}", floors=True, split_by="both"
    )
    return assemble(config, attacked(case.tables), case.arms)


@functools.cache
def bare() -> Results:
    """One seed and nothing beside it: no external set, no arm, no view, age or sex that varies."""
    case = run_tables.small_case()
    seed = case.config.first_seed
    tables = case.tables._replace(
        images=case.tables.images.drop_duplicates("patient").assign(view="PA", age=50.0, sex="F", followup=0)
    )
    kept = set(tables.images["image"])
    one = {
        name: table[(table["seed"] == seed) & (table["image"].isin(kept) if "image" in table else True)]
        for name in ("seeds", "history", "predictions", "training", "probe")
        if (table := getattr(tables, name)) is not None
    }
    return assemble(dataclasses.replace(case.config, seeds=1), tables._replace(**one), {})


def assemble(config, tables, arms) -> Results:
    found = analyse.analyse(config, tables, arms)
    rng = np.random.default_rng(0)
    summary = {
        "experiment": config.name,
        "runs": config.seeds,
        "minutes": 17.25,
        "data": {
            "source": config.data_dir or "phantom",
            "listed": {"P": 110, "NP": 290, "NF": 200},
            "present": {"P": 95, "NP": 153, "NF": 105},
            "patients_unknown": 0,
            "images": 248,
            "largest_patient": 5,
            "bad_images": {f"{ATTACK}.png": "is empty"} if config.data_dir else {},
        },
        "poster_percent": {"accuracy": 83, "accuracy_sd": 7, "fp_share": 7, "fn_share": 9},
        "notes": [NOTE],
    }
    environment = {
        "python": "3.11", "system": "Linux", "device": "cpu", "cpu_cores": 2,
        "packages": {"cxrjax": "0.1", "jax": "0.10"}, "weights": made_results.WEIGHTS,
        "network": made_results.network_facts(config.retrain_from, False),
    }  # fmt: skip
    resolved = made_results.results().resolved
    pictures = {name: rng.integers(0, 256, (256, 256), np.uint8) for name in curves.shown_errors(found.errors)}
    dream = rng.integers(0, 256, (40, 40), np.uint8)
    return Results(config, environment, resolved, summary, tables, found, dream, pictures)


def attacked(tables):
    """The most wrong image of each kind and a seventh of all views bear a name that would run a script."""
    images = tables.images.copy()
    worst = curves.shown_errors(curves.errors(tables.predictions, images))
    names = {name: f"{ATTACK}{number}.png" for number, name in enumerate(worst)}
    images.loc[images["image"].isin(worst), "labels"] += f"|{ATTACK}"
    images.loc[images.index[::7], "view"] = ATTACK
    renamed = {
        field: table.assign(image=table["image"].replace(names))
        for field, table in (("images", images), ("predictions", tables.predictions), ("training", tables.training))
    }
    return tables._replace(**renamed)


def in_language(found: Results, code: str) -> Results:
    return found._replace(config=dataclasses.replace(found.config, lang=code))
