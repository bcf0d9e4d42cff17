"""A run's tables through their files and back."""

import pandas as pd
import pytest

from cxrjax.analysis import tables
from cxrjax.analysis.tables import RunTables
from cxrjax.base import InputError
from tests.analysis import run_tables

FILES = {
    "results.csv", "history.csv", "predictions.csv", "training_predictions.csv", "images.csv", "flow.csv",
    "external_predictions.csv", "external.csv", "metrics.csv", "floors.csv", "leakage.csv", "subgroups.csv",
    "operating.csv", "calibration.csv", "errors.csv", "ensemble.csv", "probe_predictions.csv",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(case, analysed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tables.write(folder, case.tables, analysed)
    return folder


def test_every_table_has_its_file(folder):
    assert {path.name for path in folder.iterdir()} == FILES


def test_the_tables_come_back(case, folder):
    found = tables.read(folder)
    assert found.test is None
    for name in set(RunTables._fields) - {"test"}:
        own = getattr(case.tables, name)
        # Seven digits are written, and whole floats come back as integers.
        pd.testing.assert_frame_equal(getattr(found, name), own, check_dtype=False, rtol=1e-6, obj=name)
    assert found.images["patient"].iloc[0] == "00000"
    assert found.images["age"].isna().any() and (found.images["sex"] == "").any()


def test_text_stays_text(case, analysed, tmp_path):
    odd = case.tables.images.copy()
    odd.loc[:5, "patient"] = ["00012", "NA", "nan", "1e5", "a,b", 'with "quotes"']
    odd.loc[:2, "labels"] = ["", "None", "true"]
    odd.loc[:1, "view"] = ["", "NULL"]
    tables.write(tmp_path, case.tables._replace(images=odd), analysed)
    pd.testing.assert_frame_equal(tables.read(tmp_path).images, odd, check_dtype=False)


def test_what_was_not_made_has_no_file(analysed, tmp_path):
    small = run_tables.small_case()
    for name in ("external_predictions.csv", "ensemble.csv"):  # an interrupted attempt had an external set
        (tmp_path / name).write_text("stale")
    tables.write(tmp_path, small.tables, analysed._replace(external_seeds=None, ensemble=None, leakage=None))
    names = {path.name for path in tmp_path.iterdir()}
    assert names == FILES - {"external_predictions.csv", "external.csv", "ensemble.csv", "leakage.csv"}
    assert tables.read(tmp_path).external is None


def test_held_out_images_have_their_files(case, analysed, tmp_path):
    tested = case.tables._replace(test=case.tables.external)
    tables.write(tmp_path, tested, analysed._replace(test_seeds=analysed.external_seeds))
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"test_predictions.csv", "test.csv"}
    pd.testing.assert_frame_equal(tables.read(tmp_path).test, tested.test, check_dtype=False, rtol=1e-6)


def test_figures_are_written_as_they_are(analysed, folder):
    found = tables.read_table(folder / "results.csv")
    assert list(found.columns) == list(analysed.seeds.columns)
    pd.testing.assert_frame_equal(found, analysed.seeds, check_dtype=False, rtol=1e-6)
    floors = pd.read_csv(folder / "floors.csv")
    assert pd.isna(floors["beaten"].iloc[0]) and floors["beaten"].iloc[5]


def test_text_that_is_not_declared_cannot_be_written(case, analysed, tmp_path):
    """It would come back as numbers: 00012 as 12."""
    flow = case.tables.flow.assign(ward="00012")
    with pytest.raises(ValueError, match=r"'flow'.*ward"):
        tables.write(tmp_path, case.tables._replace(flow=flow), analysed)
    for name in set(tables.TABLES) - {"test", "test_seeds"}:  # as those of the external set
        table = tables.TABLES[name]
        whole = getattr(case.tables, name, None) if hasattr(case.tables, name) else getattr(analysed, name)
        assert set(table.columns) <= set(whole.columns), name


def test_a_missing_or_damaged_file_is_named(case, analysed, tmp_path):
    tables.write(tmp_path, case.tables, analysed)
    (tmp_path / "flow.csv").unlink()
    with pytest.raises(InputError, match=r"flow\.csv is missing: the run is not whole, or of another version"):
        tables.read(tmp_path)
    (tmp_path / "flow.csv").write_text("")
    with pytest.raises(InputError, match=r"flow\.csv cannot be read as a table of a run"):
        tables.read(tmp_path)
    tables.write(tmp_path, case.tables, analysed._replace(seeds=analysed.seeds.drop(columns=["n_val", "loss"])))
    with pytest.raises(InputError, match=r"results\.csv lacks the column\(s\) n_val, loss"):
        tables.read(tmp_path)
