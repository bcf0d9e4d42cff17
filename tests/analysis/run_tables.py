"""Tables of a run as training would give them, on an invented data set; and those of the runs beside it.

Patients have 1 to 6 images and differ in how their images score; positives are older, more often AP and of later
follow-ups; some ages and sexes are unknown. Draws and splits are those of `cxrjax.data.cohort`.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.special import logit as logit_of

from cxrjax.analysis import analyse
from cxrjax.analysis.tables import Analysis, RunTables
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.data import cohort
from cxrjax.runs import tables as made_tables
from cxrjax.runs.draws import Cohorts
from cxrjax.storage.store import About

CONFIG = ExperimentConfig("p_vs_nf", "p_vs_nf", seeds=4, first_seed=3, epochs=5)
ARMS = ("shuffled_labels", "random_trunk", "split_by_image")


class Case(NamedTuple):
    """What `analysis.analyse` takes."""

    config: ExperimentConfig
    tables: RunTables
    arms: dict[str, RunTables]


def case(config=CONFIG, patients=120, external=40, arms=ARMS) -> Case:
    """A run of `config` with a separation of 1.6 SD between the classes; `external`: its images, 0 for none."""
    table = data(patients)
    found = {}
    for arm in arms:
        by = "image" if arm == "split_by_image" else "patient"
        strength = {"shuffled_labels": 0.0, "random_trunk": 0.7, "split_by_image": 1.9}[arm]
        found[arm] = run_tables(config, table, strength, by, external)
    return Case(config, run_tables(config, table, 1.6, "patient", external), found)


@functools.cache
def analysed() -> tuple[Case, Analysis]:
    """The default case and its analysis, which takes seconds; not to be changed."""
    whole = case()
    return whole, analyse.analyse(*whole)


def data(patients=120, seed=0) -> pd.DataFrame:
    """A store's table: image, patient, labels, view, age, sex, followup, split."""
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        ill, age, sex = rng.random() < 0.45, rng.normal(50, 18), rng.choice(["M", "F", ""], p=[0.55, 0.42, 0.03])
        for number in range(min(rng.geometric(0.55), 6)):
            positive = rng.random() < (0.8 if ill else 0.08)
            other = rng.random() < 0.3
            labels = ("Infiltration|Pneumonia" if other else "Pneumonia") if positive else "No Finding"
            if not positive and rng.random() < 0.15:
                labels = "Effusion"
            view = rng.choice(["AP", "PA"], p=[0.65, 0.35] if positive else [0.4, 0.6])
            years = np.nan if rng.random() < 0.03 else float(np.clip(round(age + 6 * ill + number / 2), 1, 100))
            rows.append((f"{patient:08d}_{number:03d}.png", f"{patient:05d}", labels, view, years, sex, number, ""))
    return pd.DataFrame(rows, columns=["image", "patient", "labels", "view", "age", "sex", "followup", "split"])


def run_tables(config, table, strength=1.6, by="patient", external=40) -> RunTables:
    """Tables of a run whose scores lie `strength` SD apart; training scores lie further apart, as over-fitted."""
    seeds, history, predictions, training, cohorts, splits = [], [], [], [], [], []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        rng = np.random.default_rng([seed, 7])
        drawn = cohort.draw(table, tasks.get(config.task), seed, config.negatives, config.view)
        split = cohort.split(drawn, seed, config.val_fraction, by)
        sides = {
            name: _scores(rng, seed, table.iloc[drawn.index[rows]], strength + extra)
            for name, rows, extra in (("train", split.train, 1.2), ("val", split.val, 0.0))
        }
        curves = _history(rng, seed, config.epochs)
        val = curves[curves["split"] == "val"]["accuracy"]
        last = curves[(curves["split"] == "train") & (curves["epoch"] == config.epochs)].iloc[0]
        seeds.append(
            {
                "seed": seed,
                "n_train": len(split.train),
                "n_val": len(split.val),
                "positives_train": int(drawn.label[split.train].sum()),
                "positives_val": int(drawn.label[split.val].sum()),
                "loss": float(curves[curves["split"] == "val"]["loss"].iloc[-1]),
                "train_accuracy": float(last["accuracy"]),
                "best_epoch": int(val.to_numpy().argmax()) + 1,
                "best_epoch_accuracy": float(val.max()),
                "contaminated_share": cohort.contaminated_share(drawn, split),
                "params_sha256": f"{seed:064x}",
            }
        )
        cohorts.append(drawn)
        splits.append(split)
        history.append(curves)
        predictions.append(sides["val"])
        training.append(sides["train"])
    joined = [pd.concat(parts, ignore_index=True) for parts in (history, predictions, training)]
    used = set(joined[1]["image"]) | set(joined[2]["image"])
    images = table[table["image"].isin(used)].drop(columns="split").sort_values("image", ignore_index=True)
    missing = {"Pneumonia": 10, "No Finding": 110, "Effusion": 30}
    listed = table["labels"].value_counts().add(pd.Series(missing), fill_value=0).astype(int).to_dict()
    stages = made_tables.flow(
        config, About("invented", listed, {}, {}), table, Cohorts(range(len(splits)), cohorts, splits)
    )
    outside = _external(config, external) if external else None
    rng = np.random.default_rng(10)
    logit = 0.7 * logit_of(joined[1]["score"]) + 0.6 * rng.normal(size=len(joined[1]))
    probe = joined[1].assign(score=expit(logit), strength=1.0)
    return RunTables(pd.DataFrame(seeds), *joined, images, stages, outside, probe=probe)


def _scores(rng, seed, rows, strength) -> pd.DataFrame:
    """A third of the variance of a score's logit is the patient's, the same for every seed."""
    label = rows["labels"].str.contains("Pneumonia").to_numpy(int)
    own = np.array([np.random.default_rng([int(name), 1]).normal() for name in rows["patient"]])
    logit = strength * (label - 0.45) + 0.6 * own + 0.8 * rng.normal(size=len(rows)) + 0.2 * rng.normal()
    return pd.DataFrame(
        {
            "seed": seed,
            "image": rows["image"].to_numpy(),
            "patient": rows["patient"].to_numpy(),
            "label": label,
            "score": expit(1.3 * logit).astype(np.float32),
        }
    )


def _history(rng, seed, epochs) -> pd.DataFrame:
    epoch = np.arange(1, epochs + 1)
    parts = []
    for name, best in (("train", 0.9), ("val", 0.76)):
        accuracy = best - 0.25 * np.exp(-epoch / 2) + 0.01 * rng.normal(size=epochs)
        part = {"seed": seed, "epoch": epoch, "split": name, "loss": 1.4 * (1 - accuracy), "accuracy": accuracy}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts).sort_values(["epoch", "split"], ignore_index=True)


def _external(config, images) -> pd.DataFrame:
    """Another hospital's: scores too high and less apart."""
    rows = data(images, seed=9)
    rows = rows[rows["labels"].str.contains("Pneumonia") | (rows["labels"] == "No Finding")][:images]
    rows = rows.assign(patient=[f"9{name}" for name in rows["patient"]])
    parts = []
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        part = _scores(np.random.default_rng([seed, 8]), seed, rows, 0.9)
        parts.append(part.assign(score=(0.3 + 0.7 * part["score"]).astype(np.float32)))
    return pd.concat(parts, ignore_index=True)


def small_case() -> Case:
    """Two seeds, no arm, no external set."""
    return case(dataclasses.replace(CONFIG, seeds=2), patients=60, external=0, arms=())
