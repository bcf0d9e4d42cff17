"""Two finished runs: metrics against the corrected t, AUROC against DeLong, what is refused, the command line."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import comparison, scores
from cxrjax.analysis import tables as run_files
from cxrjax.base import InputError, codes
from cxrjax.metrics import delong, registry, resampled_t
from cxrjax.report.language import ENGLISH, reasons
from cxrjax.runs import results as run_results
from cxrjax.runs.run_folder import Resolved
from experiments import compare as command
from tests.analysis import run_tables
from tests.experiments.commands import mistake

CONFIG = run_tables.CONFIG


def save(folder, config, tables, analysis, data="0" * 64):
    """A finished run's folder, as far as it is compared."""
    folder.mkdir()
    run_files.write(folder, tables, analysis)
    (folder / "config.json").write_text(json.dumps(dataclasses.asdict(config)))
    (folder / "resolved.json").write_text(json.dumps(dataclasses.asdict(Resolved("resident", 1, "one", None, data))))
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def folders(case, analysed, tmp_path_factory):
    """b: the same images, scored by a worse network."""
    root = tmp_path_factory.mktemp("runs")
    arm = case.arms["random_trunk"]
    by_image = case.arms["split_by_image"]
    return {
        "a": save(root / "a", CONFIG, case.tables, analysed),
        "b": save(root / "b", dataclasses.replace(CONFIG, epochs=9), arm, analysed._replace(seeds=results(arm))),
        "image": save(
            root / "image",
            dataclasses.replace(CONFIG, split_by="image"),
            by_image,
            analysed._replace(seeds=results(by_image)),
        ),
    }


def results(tables):
    """results.csv without what is not compared."""
    return tables.seeds.merge(scores.at_half(tables.predictions), left_on="seed", right_index=True)


@pytest.fixture(scope="module")
def runs(folders):
    return {name: run_results.read_compared(folder) for name, folder in folders.items()}


def test_metrics_agree_with_the_corrected_t(case, runs):
    made = comparison.compare(runs["a"], runs["b"])
    a, b = (runs[name].seeds for name in "ab")
    assert list(made.metrics["metric"]) == [*registry.shown_in(registry.MAIN), "auroc_delong"]
    for row in made.metrics[:-1].to_dict("records"):
        x, y = (run[row["metric"]].to_numpy() for run in (a, b))
        test = resampled_t.compare_runs(x, y, a["n_train"].mean(), a["n_val"].mean())
        assert (row["a"], row["b"], row["seeds"]) == (pytest.approx(x.mean()), pytest.approx(y.mean()), 4)
        found = tuple(row[name] for name in ("difference", "low", "high", "statistic", "p"))
        assert found == pytest.approx(test[:5])
    assert made.metrics["difference"].iloc[0] < 0
    assert made.notes[0] == "settings_differ names=epochs a=5 b=9"


def test_the_other_way_round_the_signs_change(runs):
    there, back = comparison.compare(runs["a"], runs["b"]), comparison.compare(runs["b"], runs["a"])
    np.testing.assert_allclose(there.metrics["difference"], -back.metrics["difference"])
    np.testing.assert_allclose(there.metrics["p"], back.metrics["p"])


def test_delong_by_patient_in_every_seed(case, runs):
    made = comparison.compare(runs["a"], runs["b"])
    assert list(made.delong["seed"]) == [3, 4, 5, 6]
    for row in made.delong.to_dict("records"):
        a, b = (t[t["seed"] == row["seed"]] for t in (case.tables.predictions, case.arms["random_trunk"].predictions))
        test = delong.compare(
            a["label"].to_numpy(), a["score"].to_numpy(), b["score"].to_numpy(), a["patient"].to_numpy(str)
        )
        assert (row["difference"], row["low"], row["p"]) == pytest.approx((test.difference, test.low, test.p), rel=1e-4)
        assert row["b"] - row["a"] == pytest.approx(row["difference"])
    together = made.metrics.iloc[-1]
    assert together["p"] == pytest.approx(min(1, 2 * made.delong["p"].median()))
    assert together["difference"] == pytest.approx(made.delong["difference"].mean())
    below = (made.delong["p"] < 0.05).sum()
    assert made.notes[-1] == f"delong_significant n={below} of=4"


def test_order_of_the_images_does_not_matter(runs):
    shuffled = runs["b"]._replace(predictions=runs["b"].predictions.sample(frac=1, random_state=0))
    one, other = (comparison.compare(runs["a"], run).metrics for run in (runs["b"], shuffled))
    pd.testing.assert_frame_equal(one, other)


def test_other_splits_are_told_and_not_tested_by_delong(runs):
    made = comparison.compare(runs["a"], runs["image"])
    assert made.delong.empty
    assert list(made.metrics["metric"]) == list(registry.shown_in(registry.MAIN))
    assert "seeds_validate_other_images n=4 of=4" in made.notes
    assert made.notes[0] == "settings_differ names=split_by a=patient b=image"


def test_only_common_seeds_are_compared(runs):
    fewer = runs["b"]._replace(
        seeds=runs["b"].seeds.loc[[4, 5]],
        predictions=runs["b"].predictions.query("seed in (4, 5)"),
        config=dataclasses.replace(CONFIG, first_seed=4, seeds=2),
    )
    made = comparison.compare(runs["a"], fewer)
    assert (made.metrics["seeds"] == 2).all()
    assert made.metrics["a"].iloc[0] == pytest.approx(runs["a"].seeds.loc[[4, 5], "accuracy"].mean())
    assert ("only_common_seeds", {"n": "2", "a": "3 to 6", "b": "4 to 5"}) in [
        codes.parse(note)[0] for note in made.notes
    ]


def test_a_run_beside_itself_does_not_differ(runs):
    made = comparison.compare(runs["a"], runs["a"])
    assert (made.metrics["difference"] == 0).all()
    assert made.metrics["p"].isna().all()
    assert made.metrics["reason"].iloc[0] == "no_difference_varies"
    assert made.notes[0] == "same_settings"


def of_one_seed(case):
    """Scores of all images of two seeds, by another model; names in another order, one unknown."""
    images = case.tables.predictions.query("seed in (3, 4)").drop_duplicates("image").sample(frac=1, random_state=0)
    return images.assign(seed=0, score=(0.6 * images["label"] + np.linspace(0, 1, len(images))) / 1.6)


def test_scores_of_any_model_stand_beside_each_seed(case):
    runs, other = case.tables.predictions.query("seed in (3, 4)"), of_one_seed(case)
    made = comparison.compare_scores(runs, other)
    assert list(made.metrics["metric"]) == [*registry.METRICS, "auroc_delong"]
    for row in made.delong.to_dict("records"):
        a = runs[runs["seed"] == row["seed"]]
        b = other.set_index("image").loc[a["image"]]
        test = delong.compare(*(x.to_numpy() for x in (a["label"], a["score"], b["score"])), a["patient"].to_numpy(str))
        assert (row["difference"], row["p"]) == pytest.approx((test.difference, test.p), rel=1e-4)
    drawn, together = made.metrics.set_index("metric").loc[["auroc", "auroc_delong"]].to_dict("records")
    assert drawn["difference"] == pytest.approx(together["difference"], abs=1e-5)
    assert drawn["low"] < drawn["difference"] < drawn["high"]
    back = comparison.compare_scores(other, runs).metrics
    np.testing.assert_allclose(back["difference"], -made.metrics["difference"], atol=1e-6)
    name, counts = codes.parse(made.notes[0])[0]
    assert (name, int(counts["n"]), int(counts["positives"])) == ("common_images", len(other), other["label"].sum())


def test_two_sets_of_scores_have_one_test_of_delong(case):
    rows = case.tables.predictions.query("seed == 3")
    made = comparison.compare_scores(rows, of_one_seed(case))
    last = made.metrics.iloc[-1]
    assert tuple(last[["difference", "low", "p"]]) == tuple(made.delong.iloc[0][["difference", "low", "p"]])
    with pytest.raises(InputError, match="images in common"):
        comparison.compare_scores(rows, rows.assign(image="other " + rows["image"]))
    with pytest.raises(InputError, match="label or patient differ"):
        comparison.compare_scores(rows, rows.assign(label=1 - rows["label"]))


def relabelled(run):
    return run._replace(predictions=run.predictions.assign(label=1 - run.predictions["label"]))


REFUSED = {
    "question": (
        lambda run: run._replace(config=dataclasses.replace(run.config, task="p_vs_np")),
        "the runs answer different questions, P vs NF and P vs NP",
    ),
    "seeds": (
        lambda run: run._replace(seeds=run.seeds.set_axis([7, 8, 9, 10])),
        r"must have seeds in common, got 3 to 6 and 7 to 10 \(--first_seed, --seeds\)",
    ),
    "labels": (relabelled, r"different data: of \d+ images, .*png among them, label or patient differ"),
    "images": (
        lambda run: run._replace(data="1", predictions=run.predictions.assign(image="x" + run.predictions["image"])),
        "validated no image in common: they are of different data",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_runs_that_cannot_be_compared_are_refused(runs, kind):
    change, message = REFUSED[kind]
    with pytest.raises(InputError, match=message):
        comparison.compare(runs["a"], change(runs["b"]))


def test_the_command_line_prints_and_writes(folders, tmp_path, capsys):
    command.main([str(folders["a"]), str(folders["b"]), f"--out={tmp_path / 'out.csv'}"])
    told = capsys.readouterr().out
    made = comparison.compare(*(run_results.read_compared(folders[name]) for name in "ab"))
    assert f"a: {folders['a']}" in told
    assert all(reasons(note, ENGLISH) in told for note in made.notes)
    row = next(line for line in told.splitlines() if line.strip().startswith("accuracy"))
    accuracy = made.metrics.iloc[0]
    for value in (accuracy["a"], accuracy["b"], accuracy["difference"]):
        assert f"{100 * value:.1f} %" in row
    written = run_files.read_table(tmp_path / "out.csv")
    pd.testing.assert_frame_equal(written, made.metrics, check_dtype=False, rtol=1e-6)


def test_a_table_that_cannot_be_written_is_one_line(folders, capsys):
    out = f"--out={folders['a']}/../no/such.csv"
    assert "such.csv: No such file or directory" in mistake(capsys, "compare", folders["a"], folders["b"], out)


def test_a_run_without_its_tables_is_named(folders, tmp_path, case, analysed):
    folder = save(tmp_path / "run", CONFIG, case.tables, analysed)
    (folder / "predictions.csv").unlink()
    with pytest.raises(InputError, match=r"predictions\.csv is missing"):
        run_results.read_compared(folder)
