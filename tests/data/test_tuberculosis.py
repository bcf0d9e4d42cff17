"""Shenzhen and Montgomery in the layout of their release, made by hand."""

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import tasks
from cxrjax.data import cohort, decode
from cxrjax.data.load import find, load
from cxrjax.data.sources.tuberculosis import read_person
from cxrjax.storage.store import read_bad_images

FILMS = {  # film -> its reading
    "china/CHNCXR_0001_0": "male 45yrs\nnormal",
    "china/CHNCXR_0002_1": "Female, 8month\nPTB in the right upper field",
    "china/CHNCXR_0003_1": "70yrs\nbilateral PTB",
    "mont/MCUCXR_0001_0": "Patient's Sex: F\nPatient's Age: 027Y\nnormal",
    "mont/MCUCXR_0002_1": None,
}


@pytest.fixture
def release(tmp_path, noise):
    """Both sets side by side; Montgomery's with black borders, lungs' masks beside, a note among the films."""
    for name, reading in FILMS.items():
        folder, film = name.split("/")
        place = tmp_path / "tb" / folder
        for made in ("CXR_png", "ClinicalReadings", "ManualMask/leftMask"):
            (place / made).mkdir(parents=True, exist_ok=True)
        pixels = 10 + noise[list(FILMS).index(name)] // 2
        shown = np.zeros((300, 320), np.uint8)
        shown[20:276, 50:306] = pixels
        Image.fromarray(shown if folder == "mont" else pixels).save(place / "CXR_png" / f"{film}.png")
        Image.fromarray(255 * (pixels > 60).astype(np.uint8)).save(place / "ManualMask/leftMask" / f"{film}.png")
        if reading is not None:
            (place / "ClinicalReadings" / f"{film}.txt").write_text(reading)
    (tmp_path / "tb" / "china" / "CXR_png" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    return tmp_path / "tb"


def test_labels_of_names_persons_of_readings_films_without_borders(release, noise):
    store, about = load(str(release))
    table = store.table.set_index("image").sort_index()
    assert list(table.index) == [f"{name.replace('/', '/CXR_png/')}.png" for name in FILMS]
    assert list(table["labels"]) == ["No Finding", "Tuberculosis", "Tuberculosis", "No Finding", "Tuberculosis"]
    assert list(table["sex"]) == ["M", "F", "", "F", ""]
    np.testing.assert_array_equal(table["age"], [45, 0, 70, 27, np.nan])
    assert list(table["patient"]) == [name.split("/")[1][:-2] for name in FILMS]
    row = list(store.table["image"]).index("mont/CXR_png/MCUCXR_0001_0.png")
    np.testing.assert_array_equal(store.images[row], 10 + noise[3] // 2)
    assert about.made["borders"] == "crop"
    assert "readings that are missing or lack sex and age: 2" in about.notes
    bad = read_bad_images(store.folder)
    assert list(bad["reason"][bad["left_out"]]) == ["is no image: an office file or Windows' thumbnails"]


@pytest.mark.parametrize("below", ["", "mont", "mont/CXR_png"])
def test_told_from_other_layouts_at_any_level(release, below):
    source = find(release / below)
    assert (source.kind, len(source.table)) == ("tuberculosis set", 2 if below else 5)


def test_the_task(release):
    drawn = cohort.draw(load(str(release))[0].table, tasks.get("tuberculosis"), 0)
    assert drawn.label.tolist() == [0, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("reading", "person"),
    [
        ("male 63yrs\nnormal", ("M", "63Y")), ("Female33yr", ("F", "33Y")), ("Male 37 days", ("M", "37D")),
        ("male,70y", ("M", "70Y")), ("femal 16 yrs", ("F", "16Y")),
        ("Patient's Sex: M\r\nPatient's Age: 004M", ("M", "004M")),
        ("male\nPTB in 2 lobes", ("M", "")), ("", ("", "")), ("45yrs", ("", "45Y")), ("8 m", ("", "8M")),
    ],
)  # fmt: skip
def test_persons_as_written(reading, person):
    assert read_person(reading) == person


def test_borders_are_cut_where_rows_and_columns_are_black_throughout():
    shown = np.zeros((40, 50), np.uint8)
    shown[10:30, 5:45] = 200
    shown[15:20, 10:30] = 0  # black inside stays
    cut = decode._without_borders(Image.fromarray(shown))
    np.testing.assert_array_equal(np.asarray(cut), shown[10:30, 5:45])
    black = Image.new("L", (8, 8))
    assert decode._without_borders(black).size == (8, 8)
