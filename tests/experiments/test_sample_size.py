"""Accuracy against training patients: sizes, what is held fixed, intervals, and the command line."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import TASKS
from cxrjax.metrics import resampled_t
from cxrjax.runs import cost, draws, sweep
from experiments import _sample_size as sample_size
from experiments import sample_size as program
from experiments._sample_size import Design, Size
from tests.experiments import commands
from tests.runs.handmade import by_row, outcome, results, write

TASK = TASKS["p_vs_nf"]
SAME = {seed: ["a.png"] for seed in range(3)}


def test_sizes_of_a_flag():
    assert sample_size.sizes("1/16,1/8,1/4,1/2,all", 400) == [
        Size("1/16", 25), Size("1/8", 50), Size("1/4", 100), Size("1/2", 200), Size("all", 0),
    ]  # fmt: skip
    assert sample_size.sizes("all, 100,0.1", 400) == [Size("0.1", 40), Size("100", 100), Size("all", 0)]


def test_a_number_of_patients_stands_once_and_none_is_not_all():
    assert sample_size.sizes("1/4,5,1/3", 18) == [Size("1/4", 4), Size("5", 5), Size("1/3", 6)]
    assert sample_size.sizes("5,1/4", 20) == [Size("5", 5)]
    assert sample_size.sizes("1/100", 20) == [Size("1/100", 1)]
    assert sample_size.sizes("2/2,1", 20) == [Size("1", 1), Size("2/2", 0)]


@pytest.mark.parametrize("word", ["0", "-5", "half", "3/2", "1/0", "0/4", "1.5", "0.0", "1e2", "10%", "²"])
def test_what_is_no_size_is_refused(word):
    with pytest.raises(InputError, match="--sizes must hold whole numbers above 0, fractions up to 1 or 'all', got"):
        sample_size.sizes(f"all,{word}", 400)


def test_no_size_is_refused():
    with pytest.raises(InputError, match="--sizes must name at least one size, got ','"):
        sample_size.sizes(",", 400)


@pytest.fixture(scope="module")
def source(small_store):
    return sweep.Source()


@pytest.fixture
def base(small_store, tmp_path):
    return ExperimentConfig(
        "p_vs_nf", "p_vs_nf", data_dir=str(small_store), weights="random", seeds=2, epochs=6, augment_bank=1,
        batch_size=4, small_ok=True, out=str(tmp_path / "out"),
    )  # fmt: skip


def test_the_design_draws_as_the_runs_will(base, source):
    """Patients nested and of the number asked for, validation the same, steps as with all patients."""
    design = sample_size.design(base, source, "5,8,all", "steps")
    assert [row.name for row in design.rows] == ["patients_00005", "patients_00008", "all"]
    made = [draws.draw(row.config, source.data(base, 256).store) for row in design.rows]
    for seed in range(2):
        trained = [set(one.cohorts[seed].patient[one.splits[seed].train]) for one in made]
        assert [len(patients) for patients in trained[:2]] == [5, 8]
        assert trained[0] < trained[1] < trained[2]
        validated = [one.cohorts[seed].index[one.splits[seed].val] for one in made]
        assert all((rows == validated[2]).all() for rows in validated)
    images = np.array([[len(split.train) for split in one.splits] for one in made])
    each = np.ceil(images / 4).mean(axis=1)
    epochs = [row.config.epochs for row in design.rows]
    assert epochs == [round(6 * each[2] / own) for own in each]
    assert list(design.steps.values()) == pytest.approx(np.array(epochs) * each)
    assert epochs[2] == 6 and epochs[0] > epochs[1] > 6
    assert design.patients == {"patients_00005": 5, "patients_00008": 8, "all": np.mean(
        [len(set(c.patient[s.train])) for c, s in zip(made[2].cohorts, made[2].splits, strict=True)]
    )}  # fmt: skip
    assert design.pool == images[2].mean()


def test_epochs_may_be_held_fixed_instead(base, source):
    design = sample_size.design(base, source, "8,all", "epochs")
    assert [row.config.epochs for row in design.rows] == [6, 6]
    assert design.steps["patients_00008"] < design.steps["all"]


def test_sizes_that_cannot_serve_are_left_out_with_a_reason(base, source):
    design = sample_size.design(base, source, "1,500,all", "steps")
    one, many, whole = design.rows
    assert one.unavailable == "--train_patients=1 leaves no training image of one class, seed 0"
    assert many.unavailable.startswith("--train_patients=500 must be 1 to ")
    assert whole.unavailable == ""
    with pytest.raises(InputError, match="--sizes=1: no size can be trained on; --train_patients=1 leaves no training"):
        sample_size.design(base, source, "1", "steps")


@pytest.fixture
def found(tmp_path):
    """Two sizes and one left out; 300 images on the training side."""
    made = Design([], {"few": 40.0, "all": 250.0}, {"few": 60.0, "all": 61.0}, 300.0, "steps")
    few = write(tmp_path / "few", results([0.6, 0.62, 0.67], [0.7, 0.7, 0.73], n_train=50, n_val=60), SAME)
    whole = write(tmp_path / "all", results([0.7, 0.73, 0.76], [0.8, 0.82, 0.84], n_train=300, n_val=60), SAME)
    reason = "--train_patients=2 leaves no training image of one class"
    outcomes = [
        outcome("tiny", None, sweep.UNAVAILABLE, reason, train_patients=2),
        outcome("few", few, train_patients=40),
        outcome("all", whole),
    ]
    return sample_size.table(outcomes, made)


def test_intervals_use_the_images_of_the_training_side(found):
    few, whole = by_row(found)["few"], by_row(found)["all"]
    for row, values in ((few, [0.6, 0.62, 0.67]), (whole, [0.7, 0.73, 0.76])):
        half = stats.t.ppf(0.975, 2) * np.std(values, ddof=1) * np.sqrt(1 / 3 + 60 / 300)
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(
            (np.mean(values) - half, np.mean(values) + half)
        )
    error = np.std([0.1, 0.11, 0.09], ddof=1) * np.sqrt(1 / 3 + 60 / 300)
    assert few["accuracy_difference"] == pytest.approx(-0.1)
    assert few["accuracy_difference_low"] == pytest.approx(-0.1 - stats.t.ppf(0.975, 2) * error)
    assert (few["patients"], few["steps"], few["n_train"]) == (40, 60, 50)
    assert (by_row(found)["tiny"]["patients"], by_row(found)["tiny"]["status"]) == (2, "not available")


def test_text_and_last_line(found):
    text = sample_size.markdown(found, TASK, "steps", ["A phantom."])
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert cells[1][1:4] == ["2", "–", "not available"]
    assert cells[2][1:4] == ["40", "50", "63.0 ± 3.6 %"]
    assert cells[3][1:4] == ["250", "300", "73.0 ± 3.0 %"]
    assert cells[3][7:] == ["–", "–", "3 × 120", "61 |"]
    assert "- tiny reading: --train_patients=2 leaves no training image of one class." in text
    assert "- Every size makes the same number of steps" in text and "- A phantom." in text
    assert "- Every size is trained for the same epochs" in sample_size.markdown(found, TASK, "epochs")
    assert sample_size.last_line(found, TASK, 12.4) == (
        "P vs NF: 40 training patients: accuracy 63.0 ± 3.6 %, AUROC 0.710 ± 0.017; 250 training patients: accuracy "
        "73.0 ± 3.0 %, AUROC 0.820 ± 0.020; 2 of 3 sizes, 12 min"
    )


def test_the_figure_has_two_panels_with_intervals(found):
    accuracy, auroc = sample_size.figure(found, TASK).axes
    assert [tick.get_text() for tick in accuracy.get_xticklabels()] == ["40", "250"]
    (bars,) = [one for one in auroc.containers if type(one).__name__ == "ErrorbarContainer"]
    few = by_row(found)["few"]
    ends = bars.lines[2][0].get_segments()[0][:, 1]
    assert tuple(ends) == pytest.approx((few["auroc_low"], few["auroc_high"]))


@pytest.fixture
def call(small_store, tmp_path, monkeypatch):
    return commands.small_table("sample_size", small_store, tmp_path / "out", monkeypatch)


def test_from_the_command_line_to_the_table_and_on(call, tmp_path, capsys):
    assert call("--sizes=1,8,all") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("estimated time ")
    assert "not available: --train_patients=1 leaves no training image of one class" in told[1]
    assert told[-1].startswith("P vs NF: 8 training patients: accuracy 70.5 ± 0.7 %")
    table = pd.read_csv(tmp_path / "out" / "sample_size.csv")
    assert list(table["row"]) == ["patients_00001", "patients_00008", "all"]
    assert (tmp_path / "out" / "sample_size.png").stat().st_size > 10_000
    assert call("--sizes=5,8,all", f"--reuse={tmp_path / 'out' / 'all'}", f"--out={tmp_path / 'other'}") == 0
    table = pd.read_csv(tmp_path / "other" / "sample_size.csv").set_index("row")
    assert table.loc["all", "folder"] == str(tmp_path / "out" / "all")
    assert not (tmp_path / "other" / "all").exists()


@pytest.mark.slow
def test_real_runs_of_two_sizes(small_store, tmp_path, capsys, monkeypatch):
    """Nothing made up: fc8 of random weights, one epoch; the table has what results.csv has."""
    monkeypatch.setattr(cost, "measure", lambda *_: cost.Speed(1e11, 1e11))
    out = tmp_path / "out"
    flags = (
        "--weights=random",
        "--retrain_from=fc8",
        "--seeds=2",
        "--epochs=1",
        "--augment_bank=1",
        "--sizes=8,all",
        "--small_ok",
    )
    program.main([f"--data_dir={small_store}", f"--out={out}", *flags])
    assert capsys.readouterr().out.splitlines()[-1].startswith("P vs NF: 8 training patients: accuracy ")
    table = pd.read_csv(out / "sample_size.csv").set_index("row")
    runs = {name: pd.read_csv(out / name / "results.csv") for name in ("patients_00008", "all")}
    for name, run in runs.items():
        for figure in ("accuracy", "auroc", "n_train"):
            assert table.loc[name, figure] == pytest.approx(run[figure].mean())
    assert (runs["patients_00008"]["n_train"] < runs["all"]["n_train"]).all()
    validated = [pd.read_csv(out / name / "predictions.csv")[["seed", "image", "label"]] for name in runs]
    pd.testing.assert_frame_equal(*validated)
    assert table.loc["patients_00008", "pairs"] == 2 and pd.isna(table.loc["all", "caution"])


SHIFT = np.where(np.arange(20) < 4, 0.55, 0.0)  # between the means of two normal classes of unit variance


def draw(rng, count):
    label = (rng.random(count) < 0.45).astype(int)
    return rng.standard_normal((count, 20)) + np.outer(label, SHIFT), label


def fit(x, label):
    """Linear discriminant."""
    means = np.stack([x[label == c].mean(axis=0) for c in (0, 1)])
    within = x - means[label]
    weight = np.linalg.solve(within.T @ within / len(x) + 0.05 * np.eye(20), means[1] - means[0])
    return weight, -weight @ means.sum(axis=0) / 2


def accuracy(x, label, train, val):
    weight, bias = fit(x[train], label[train])
    return ((x[val] @ weight + bias > 0) == label[val]).mean()


def truth(rng, count, repeats=5000):
    """Expected accuracy after training on so many images."""
    found = []
    for _ in range(repeats):
        weight, bias = fit(*draw(rng, count))
        norm = np.linalg.norm(weight)
        found.append(0.45 * stats.norm.cdf((weight @ SHIFT + bias) / norm) + 0.55 * stats.norm.cdf(-bias / norm))
    return np.mean(found)


@pytest.mark.slow
def test_coverage_of_the_intervals_at_every_size():
    """What `sample_size.table` says of its intervals: 800 images, 160 of them for validation, ten runs."""
    rng, sizes, sets = np.random.default_rng(0), (40, 80, 160, 320, 640), 1500
    true = [truth(rng, size) for size in sizes]
    covered, width = np.zeros((2, len(sizes))), np.zeros((2, len(sizes)))
    for _ in range(sets):
        x, label = draw(rng, 800)
        orders = [rng.permutation(800) for _ in range(10)]
        for place, size in enumerate(sizes):
            runs = np.array([accuracy(x, label, order[160 : 160 + size], order[:160]) for order in orders])
            for rule, n_train in enumerate((640, size)):
                found = resampled_t.over_runs(runs, n_train, 160)
                covered[rule, place] += found.low <= true[place] <= found.high
                width[rule, place] += found.high - found.low
    covered, width = covered / sets, width / sets
    # As 6000 sets of another seed gave; 0.015 are some three standard errors of 1500.
    assert np.allclose(covered[0], [0.99, 0.98, 0.97, 0.96, 0.96], atol=0.015)
    assert np.allclose(width[1] / width[0], [3.4, 2.5, 1.8, 1.3, 1.0], atol=0.1)


@pytest.mark.slow
def test_coverage_of_differences_between_other_splits_and_fewer_images():
    """What `sweep_tables` says of differences where validation images differ: the same 800 images split anew, and 440
    of them, against the first split."""
    rng, sets = np.random.default_rng(0), 1500
    true = {800: 0.0, 440: truth(rng, 352, 20_000) - truth(rng, 640, 20_000)}
    covered = dict.fromkeys(true, 0)
    for _ in range(sets):
        x, label = draw(rng, 800)

        def runs(count, x=x, label=label):
            orders = [rng.permutation(count) for _ in range(10)]
            return np.array([accuracy(x, label, order[count // 5 :], order[: count // 5]) for order in orders])

        base = runs(800)
        for count, difference in true.items():
            found = resampled_t.compare_runs(base, runs(count), 4, 1)
            covered[count] += found.low <= difference <= found.high
    assert all(number / sets > 0.97 for number in covered.values())
