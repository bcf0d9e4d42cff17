"""The command line from flags to files, on a small NIH folder made of phantoms and a random trunk."""

import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax import load_run
from cxrjax.base import InputError, tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.data import phantom
from cxrjax.data.load import load
from cxrjax.models.alexnet import STAGES
from cxrjax.report import report
from cxrjax.runs import dreams, experiment, run_folder, setup
from cxrjax.storage import checkpoint
from cxrjax.storage.store import About, open_store, write_store
from cxrjax.training import seed_batches, step
from experiments import _cli, p_vs_nf, p_vs_np
from tests.models import narrow
from tests.runs.handmade import RESOLVED
from tests.runs.test_trained import CLOSE, worst

FAST = (
    "--weights=random",
    "--retrain_from=fc8",
    "--seeds=2",
    "--epochs=2",
    "--batch_size=8",
    "--augment_bank=1",
    "--small_ok",
)


@pytest.fixture(scope="module")
def nih(small_phantom, tmp_path_factory):
    """An NIH folder: official table and PNG files; the last 5 images are not downloaded."""
    root = tmp_path_factory.mktemp("nih")
    (root / "images").mkdir()
    t = small_phantom.table
    pd.DataFrame(
        {
            "Image Index": t["image"], "Finding Labels": t["labels"], "Follow-up #": t["followup"],
            "Patient ID": t["patient"], "Patient Age": t["age"], "Patient Gender": t["sex"], "View Position": t["view"],
        }
    ).to_csv(root / "Data_Entry_2017_v2020.csv", index=False)  # fmt: skip
    for name, image in list(zip(t["image"], small_phantom.images, strict=True))[:-5]:
        Image.fromarray(image).save(root / "images" / name)
    return root


@pytest.fixture(scope="module")
def elsewhere(small_phantom, tmp_path_factory):
    """A store of other patients, and copies of two images of `nih`: one as it is, one resized and saved as JPEG."""
    other = phantom.phantom(n_patients=15, seed=1)
    copied = np.flatnonzero(small_phantom.table["labels"].str.contains("Pneumonia"))[:2]
    first, second = small_phantom.images[copied[0]], Image.fromarray(small_phantom.images[copied[1]]).resize((180, 180))
    file = io.BytesIO()
    second.save(file, "JPEG", quality=75)
    resized = np.asarray(Image.open(file).resize((256, 256)))
    table = pd.concat([other.table, small_phantom.table.iloc[copied[:2]]], ignore_index=True)
    table["image"] = [f"{number}.png" for number in range(len(table))]
    folder = tmp_path_factory.mktemp("elsewhere") / "store"
    write_store(folder, table, [*other.images, first, resized], About("elsewhere", {}, {}, {}))
    return folder


def call(config, *argv):
    """Exit status of a command line, of the narrow network; 0 if it returns."""
    config = dataclasses.replace(config, model=narrow.ALEXNET.name)
    try:
        _cli.main(config, "What it asks.", list(argv))
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.fixture(scope="module")
def finished(nih, elsewhere, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXRJAX_CACHE", str(out.parent / "cache"))
        assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={out}", f"--external_dir={elsewhere}", *FAST) == 0
    return out


def test_every_promised_file_is_there_and_nothing_half_written(finished):
    names = {p.name for p in finished.iterdir()}
    assert names == {
        "config.json", "resolved.json", "environment.json", "results.csv", "summary.json", "history.csv",
        "predictions.csv", "training_predictions.csv", "images.csv", "flow.csv", "external.csv",
        "external_predictions.csv", "metrics.csv", "floors.csv", "subgroups.csv", "operating.csv", "calibration.csv",
        "errors.csv", "figures", "learning_curve.png", "dream.png", "report.html", "model_card.md", "claim_2024.md",
        "checkpoints", ".lock", "ensemble.csv", "probe_predictions.csv",
    }  # fmt: skip


def test_tables_agree_with_each_other(finished):
    results, predictions = pd.read_csv(finished / "results.csv"), pd.read_csv(finished / "predictions.csv")
    history, summary = pd.read_csv(finished / "history.csv"), json.loads((finished / "summary.json").read_text())
    assert list(results["seed"]) == [0, 1]
    assert len(history) == 2 * 2 * 2
    last = history[(history["epoch"] == 2) & (history["split"] == "val")].set_index("seed")["accuracy"]
    for row in results.itertuples():
        own = predictions[predictions["seed"] == row.seed]
        right = (own["score"] > 0.5) == (own["label"] == 1)
        assert row.accuracy == pytest.approx(right.mean(), abs=1e-6)
        assert row.accuracy == pytest.approx(last[row.seed], abs=1e-6)
        assert row.accuracy + row.fp_share + row.fn_share == pytest.approx(1, abs=1e-6)
        assert (row.n_val, row.positives_val) == (len(own), own["label"].sum())
    assert summary["internal"]["accuracy"]["mean"] == pytest.approx(results["accuracy"].mean(), abs=1e-6)
    assert summary["data"]["listed"]["P"] + summary["data"]["listed"]["NP"] == 5 + sum(
        summary["data"]["present"][name] for name in ("P", "NP")
    )


def test_copies_of_its_own_images_are_left_out_of_the_external_set(finished, elsewhere):
    """One as it is, one resized and saved as JPEG; whoever was trained or validated on is not external."""
    summary, external = (
        json.loads((finished / "summary.json").read_text()),
        pd.read_csv(finished / "external_predictions.csv"),
    )
    images = open_store(elsewhere).table["image"].tolist()
    assert summary["data"]["external_copies"] == 2
    assert f"external_copies n=2 of={len(images)}" in summary["notes"]
    assert len(external) and not set(images[-2:]) & set(external["image"])
    assert "are left out of the external set" in (finished / "report.html").read_text()


def test_enlarged_images_of_both_sets_are_counted(finished, nih):
    """The run's are as large as the network takes; the external store was not prepared and says nothing."""
    data = json.loads((finished / "summary.json").read_text())["data"]
    images = len(list((nih / "images").iterdir()))
    assert data["enlarged"] == {"size": 256, "images": 0, "of": images, "median": 0, "smallest": 0}
    assert data["external_enlarged"] == {}
    assert "No image was enlarged to reach 256 pixels a side" in (finished / "report.html").read_text()


@pytest.mark.parametrize("spelled", ["{}", "{}/", "{}/images/.."])
def test_a_set_is_not_external_to_itself(nih, tmp_path, capsys, spelled):
    argv = (f"--data_dir={nih}", f"--external_dir={spelled.format(nih)}", f"--out={tmp_path / 'run'}", *FAST)
    assert call(p_vs_nf.CONFIG, *argv) == 2
    assert "must be another set than --data_dir" in capsys.readouterr().err


def test_a_copy_of_the_whole_set_is_not_external(nih, tmp_path, capsys):
    table = load(str(nih))[0].table
    rows = np.flatnonzero(table["labels"].str.contains("Pneumonia"))  # all positives are in each run
    (tmp_path / "copy").mkdir()
    for image in table["image"][rows]:
        shutil.copy(nih / "images" / image, tmp_path / "copy" / f"{image[:-4]}_copy.png")
    argv = (f"--data_dir={nih}", f"--external_dir={tmp_path / 'copy'}", f"--out={tmp_path / 'run'}", *FAST)
    assert call(p_vs_nf.CONFIG, *argv) == 2
    assert f"all of its {len(rows)} images are also in these runs" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_page_holds_its_pictures_and_needs_no_network(finished):
    page = (finished / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 1
    assert page.count('<div class="plot"') == 12
    assert not re.search(r'\ssrc="(?!data:)', page)
    with Image.open(finished / "dream.png") as dream:
        assert dream.size == (445, 445)
        assert np.asarray(dream).std() > 5


def test_a_finished_run_is_refused_and_kept(finished, nih, capsys):
    before = (finished / "summary.json").read_bytes()
    assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={finished}", *FAST) == 2
    assert "holds a finished run; --overwrite" in capsys.readouterr().err
    assert (finished / "summary.json").read_bytes() == before


@pytest.fixture
def bare(monkeypatch):
    """Pages and the first dream take most of a small run's time; `finished` makes them."""
    monkeypatch.setattr(report, "write_pages", lambda folder, results: None)
    monkeypatch.setattr(dreams, "first_dream", lambda net, head: np.zeros((2, 2), np.uint8))


@pytest.mark.usefixtures("bare")
def test_an_interrupted_run_goes_on_to_the_same_numbers(finished, nih, elsewhere, tmp_path, monkeypatch, capsys):
    """Stopped after the first epoch, with the state saved; then the same command again."""
    argv = (f"--data_dir={nih}", f"--out={tmp_path / 'run'}", f"--external_dir={elsewhere}", *FAST)
    monkeypatch.setattr(seed_batches, "SAVE_SECONDS", -1)
    with monkeypatch.context() as patch:
        save = checkpoint.Series.save

        def save_and_stop(*args):
            save(*args)
            raise KeyboardInterrupt

        patch.setattr(checkpoint.Series, "save", save_and_stop)
        assert call(p_vs_nf.CONFIG, *argv) == 130
    assert not run_folder.is_finished(tmp_path / "run")
    assert call(p_vs_nf.CONFIG, *argv, "--epochs=3") == 2
    assert "another configuration: epochs (was 2, now 3)" in capsys.readouterr().err
    assert call(p_vs_nf.CONFIG, *argv) == 0
    for name in ("results.csv", "history.csv", "predictions.csv", "external.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes(), name


@pytest.mark.usefixtures("bare")
def test_seeds_one_after_the_other_are_the_seeds_side_by_side(finished, nih, tmp_path):
    out = tmp_path / "run"
    assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={out}", *FAST, "--seed_batch=1") == 0
    together, alone = (pd.read_csv(folder / "history.csv") for folder in (finished, out))
    pd.testing.assert_frame_equal(together, alone, rtol=1e-5)
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["seed_000", "seed_001"]
    assert json.loads((out / "resolved.json").read_text())["seed_batch"] == 1


@pytest.mark.usefixtures("bare")
def test_hashes_are_of_the_saved_parameters(finished):
    results = pd.read_csv(finished / "results.csv")
    for seed in (0, 1):
        saved = checkpoint.load_tree(finished / "checkpoints" / f"seed_{seed:03d}")
        assert results["params_sha256"][seed] == checkpoint.digest(saved["params"])
    assert results["params_sha256"].nunique() == 2


def test_divergence_stops_with_advice_and_keeps_the_curves(nih, tmp_path, capsys):
    out = tmp_path / "run"
    flags = (*FAST, "--learning_rate=3e38", "--momentum=0.9", "--epochs=9")
    assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={out}", *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(
        r"seed 0.*: the (?:training|validation) loss is (?:not finite|above 1e\+06) in epoch \d; "
        r"a smaller --learning_rate, with --overwrite, may help",
        error,
    )
    history = pd.read_csv(out / "history.csv")
    last = history["epoch"].max()
    assert f"epoch {last};" in error
    assert not (history[history["epoch"] == last]["loss"] <= 1e6).all()


def test_a_score_that_is_not_finite_at_the_very_end_is_one_line(nih, tmp_path, capsys, monkeypatch):
    """The losses are finite, an image of the training side or of the external set overflows."""
    out = tmp_path / "run"
    monkeypatch.setattr(step, "score_rows", lambda head, loss, params, bank, rows: np.full(len(rows), np.nan))
    assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={out}", *FAST) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "error: seed 0: scores of training images are not finite; a smaller --learning_rate" in error
    assert set(pd.read_csv(out / "history.csv")["seed"]) == {0} and not run_folder.is_finished(out)


def test_other_data_or_weights_under_the_same_name_are_not_mixed_in(tmp_path, capsys):
    config = dataclasses.replace(p_vs_nf.CONFIG, out=str(tmp_path / "run"))
    before = dataclasses.replace(RESOLVED, data_sha256="a")
    with run_folder.claim(config, before):
        pass
    assert run_folder.recall(config) == before
    with (
        pytest.raises(InputError, match="another configuration: data_sha256 \\(was 'a', now 'b'\\)"),
        run_folder.claim(config, dataclasses.replace(before, data_sha256="b")),
    ):
        pass
    assert run_folder.recall(dataclasses.replace(config, epochs=3)) is None


def test_overwrite_continues_an_interrupted_run_of_the_same_configuration(tmp_path):
    config = dataclasses.replace(p_vs_nf.CONFIG, out=str(tmp_path / "run"), overwrite=True)
    with run_folder.claim(config, RESOLVED) as folder:
        (folder / "checkpoints").mkdir()
    with run_folder.claim(config, RESOLVED) as folder:
        assert (folder / "checkpoints").is_dir()
    with run_folder.claim(dataclasses.replace(config, epochs=3), RESOLVED) as folder:
        assert not (folder / "checkpoints").exists()


def test_what_a_kill_leaves_before_the_configuration_is_written_is_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / "resolved.json").write_text("{}")
    with run_folder.claim(dataclasses.replace(p_vs_nf.CONFIG, out=str(tmp_path / "run")), RESOLVED) as folder:
        assert (folder / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("bare")
def test_all_layers_retrained(nih, tmp_path):
    flags = ("--retrain_from=conv1", "--augment_bank=0", "--seeds=1", "--epochs=1", "--batch_size=16")
    assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={tmp_path / 'run'}", *FAST, *flags) == 0
    saved = checkpoint.load_tree(tmp_path / "run" / "checkpoints" / "seed_000")
    assert list(saved["params"]) == list(STAGES)
    store, _ = load(str(nih))
    assert worst(load_run(tmp_path / "run"), store.images, store.table) < CLOSE


@pytest.mark.usefixtures("bare")
def test_a_run_says_its_time_first_and_its_report_last(nih, tmp_path, capsys):
    assert call(p_vs_np.CONFIG, f"--data_dir={nih}", f"--out={tmp_path / 'r'}", *FAST, "--seeds=1", "--epochs=1") == 0
    output = capsys.readouterr()
    lines = [line.split(" ", 1)[1] for line in output.err.splitlines() if " " in line]
    begin = [next(i for i, x in enumerate(lines) if x.startswith(word)) for word in ("estimated time: ", "data: ")]
    assert begin[0] == begin[1] - 1  # a run's first line
    assert output.out.strip().splitlines()[-5] == f"report: {tmp_path / 'r' / 'report.html'}"
    assert "P vs NP, 1 seed, " in output.out and "65 ± 5" in output.out


def test_a_folder_in_use_is_refused(nih, tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert call(p_vs_nf.CONFIG, f"--data_dir={nih}", f"--out={tmp_path}", *FAST) == 2
    assert "holds files that are not a run's" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()
    config = dataclasses.replace(p_vs_nf.CONFIG, out=str(tmp_path / "run"))
    with (
        run_folder.claim(config, RESOLVED),
        pytest.raises(InputError, match="in use by a run that is under way"),
        run_folder.claim(config, RESOLVED),
    ):
        pass


def test_overwrite_replaces_an_old_run_and_only_that(tmp_path):
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", out=str(tmp_path / "run"))
    with run_folder.claim(config, RESOLVED) as folder:
        (folder / "summary.json").write_text("{}")
    with run_folder.claim(dataclasses.replace(config, overwrite=True, epochs=3), RESOLVED) as folder:
        assert not (folder / "summary.json").exists()


def test_flags_follow_the_configuration():
    parsed = _cli.parse(p_vs_nf.CONFIG, "", ["--seeds=3", "--nooverwrite", "--momentum=0.9", "--data_dir=x"])
    assert parsed == dataclasses.replace(p_vs_nf.CONFIG, seeds=3, momentum=0.9, data_dir="x")
    assert _cli.parse(p_vs_np.CONFIG, "", []) == p_vs_np.CONFIG


def test_defaults_are_the_posters():
    c = p_vs_nf.CONFIG
    assert (c.seeds, c.epochs, c.batch_size, c.learning_rate, c.momentum) == (10, 120, 64, 0.001, 0)
    assert (c.val_fraction, c.split_by, c.view, c.retrain_from) == (0.2, "patient", "all", "head")
    assert setup.open_network(dataclasses.replace(c, weights="random"))[0].retrain_from == "fc6"
    assert tasks.get(c.task).published.percent["accuracy"] == 83


def test_an_external_set_must_be_cropped_as_the_runs():
    whole, lungs = (About("x", {}, made, {}) for made in ({"size": 256}, {"size": 256, "crop": "lungs"}))
    config = ExperimentConfig("p_vs_nf", "p_vs_nf", data_dir="here", external_dir="there")
    experiment.refuse_other_crop(config, lungs, lungs)
    experiment.refuse_other_crop(config, whole, whole)
    with pytest.raises(
        InputError, match=r"--external_dir=there must be cropped as --data_dir=here \(lungs\), got none"
    ):
        experiment.refuse_other_crop(config, lungs, whole)
