"""Folders of finished runs without training: the files that tables of runs read."""

import json

import pandas as pd

from cxrjax.base.config import ExperimentConfig
from cxrjax.metrics import registry
from cxrjax.runs import draws, run_folder, setup, sweep

RESOLVED = run_folder.Resolved("resident", 1, device="one", weights_sha256="w", data_sha256="d")


def results(accuracy, auroc, first_seed=0, n_train=80, n_val=20) -> pd.DataFrame:
    """results.csv of runs with these figures; errors are half false positives, half false negatives."""
    table = pd.DataFrame({"seed": range(first_seed, first_seed + len(accuracy)), "accuracy": accuracy, "auroc": auroc})
    wrong = (1 - table["accuracy"]) / 2
    return table.assign(
        fp_share=wrong, fn_share=wrong, sensitivity=table["accuracy"], specificity=0.75, n_train=n_train, n_val=n_val
    )


def write(folder, table, validated=None, notes=()):
    """A folder with the results, each seed having validated the images named; by default images of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "results.csv", index=False)
    images = {seed: [f"{seed}_{i}.png" for i in range(3)] for seed in table["seed"]} | (validated or {})
    rows = [(seed, image, "p", 1, 0.5) for seed in table["seed"] for image in images[seed]]
    columns = ["seed", "image", "patient", "label", "score"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "predictions.csv", index=False)
    (folder / "summary.json").write_text(json.dumps({"notes": list(notes)}))
    return folder


def claimed(config, resolved=None, table=None):
    """A finished run of the configuration, in its own folder."""
    with run_folder.claim(config, RESOLVED if resolved is None else resolved) as folder:
        return write(folder, results([0.7], [0.8]) if table is None else table)


def fake_run(config, accuracy=0.7):
    """In the place of `experiment.run`: draws and splits as it does, makes up figures; seeds differ by a hundredth."""
    setup.check(config)
    source = sweep.Source()
    config, weights = source.open(config)
    store = source.data(config, setup.model_of(config, weights).source).store
    cohorts = draws.draw(config, store)
    dry = sweep.dry_run(config, source)
    resolved = run_folder.Resolved("resident", 1, setup.device(), dry.weights_sha256, dry.data_sha256)
    table = results(
        [accuracy + 0.01 * i for i in range(config.seeds)], [0.8 + 0.01 * i for i in range(config.seeds)],
        config.first_seed,
    )  # fmt: skip
    table["n_train"] = [len(rows) for rows in cohorts.train]
    pairs = zip(cohorts.cohorts, cohorts.splits, strict=True)
    table["positives_train"] = [cohort.label[split.train].sum() for cohort, split in pairs]
    names = store.table["image"].to_numpy(str)
    validated = {seed: list(names[rows]) for seed, rows in zip(cohorts.seeds, cohorts.val, strict=True)}
    with run_folder.claim(config, resolved) as folder:
        write(folder, table, validated, ["The images are a phantom."])


def outcome(name, folder, status=sweep.DONE, reason="", note="", **fields):
    """A row of a table and what became of it."""
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", **fields)
    return sweep.Outcome(sweep.Row(name, f"{name} reading", config, note), folder, status, reason)


def by_row(table) -> dict[str, pd.Series]:
    assert set(registry.shown_in(registry.MAIN)) <= set(table.columns)
    return {row["row"]: row for _, row in table.iterrows()}
