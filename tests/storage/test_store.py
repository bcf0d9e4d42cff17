import hashlib

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError, files
from cxrjax.storage import store
from cxrjax.storage.store import About

ABOUT = About("here", {"Pneumonia": 3}, {"size": 256}, {})


def table(n):
    return pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(n)],
            "patient": "007",
            "labels": "Pneumonia",
            "view": "PA",
            "age": 50,
            "sex": "F",
            "followup": 0,
            "split": "train",
        }
    )


def test_round_trip_and_memory_map(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 256, 256), dtype=np.uint8)
    store.write_store(tmp_path / "s", table(3), iter(images), ABOUT)
    opened = store.open_store(tmp_path / "s")
    assert isinstance(opened.images, np.memmap)
    np.testing.assert_array_equal(opened.images, images)
    pd.testing.assert_frame_equal(opened.table, table(3), check_dtype=False)
    assert opened.table["patient"][0] == "007"  # leading zeros survive
    assert store.read_about(tmp_path / "s") == ABOUT
    assert len(store.read_bad_images(tmp_path / "s")) == len(store.read_boxes(tmp_path / "s")) == 0


def test_what_was_left_out_is_told(tmp_path):
    store.write_store(tmp_path / "s", table(1), [np.zeros((256, 256), np.uint8)], ABOUT)
    bad = pd.DataFrame(
        [
            ("x.png", "a/x.png", True, False, "broken, quite"),
            ("0.png", "0.png", False, False, "same pixels as NA"),
            ("notes.txt", "a/notes.txt", True, True, "is no image: text"),  # no image is lost with it
        ],
        columns=list(store.BAD_COLUMNS),
    )
    store.write_tables(tmp_path / "s", table(1), ABOUT, bad)
    assert store.read_about(tmp_path / "s").bad_images == {"x.png": "broken, quite"}
    pd.testing.assert_frame_equal(store.read_bad_images(tmp_path / "s"), bad, check_dtype=False)


def test_a_name_that_pandas_takes_for_missing_survives(tmp_path):
    rows = table(2).assign(image=["NA", "nan.png"], patient=["NA", "null"], labels="None")
    store.write_store(tmp_path / "s", rows, np.zeros((2, 256, 256), np.uint8), ABOUT)
    boxes = pd.DataFrame([("NA", "None", 0.25, 0.5, 0.125, 0.25)], columns=list(store.BOX_COLUMNS))
    store.write_tables(tmp_path / "s", rows, ABOUT, boxes=boxes)
    opened = store.open_store(tmp_path / "s")
    assert opened.table["image"].tolist() == ["NA", "nan.png"]
    pd.testing.assert_frame_equal(store.read_boxes(tmp_path / "s"), boxes, check_dtype=False)
    assert store.patients_with_box(opened, "None").tolist() == ["NA"]


def test_images_are_written_as_numpy_does(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5), dtype=np.uint8)
    store.write_images(tmp_path / "x.npy", iter(images), 4)
    np.save(tmp_path / "y.npy", images)
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "y.npy").read_bytes()


@pytest.mark.parametrize("images", [0, 1, 3])
def test_another_number_of_images_than_the_table_has_is_refused(tmp_path, images):
    with pytest.raises(ValueError, match=f"must hold 2 images, got {images}"):
        store.write_store(tmp_path / "s", table(2), [np.zeros((4, 4), np.uint8)] * images, ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_store_leaves_nothing(tmp_path):
    def images():
        yield np.zeros((256, 256), np.uint8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_store(tmp_path / "s", table(2), images(), ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got float64 \[?\(?4, 4"):
        store.write_store(tmp_path / "s", table(1), [np.zeros((4, 4))], ABOUT)


def test_images_of_several_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\[4, 4\], got uint8 \(5, 5"):
        store.write_store(tmp_path / "s", table(2), [np.zeros((n, n), np.uint8) for n in (4, 5)], ABOUT)


def test_damaged_stores_are_refused(tmp_path):
    store.write_store(tmp_path / "s", table(1), [np.zeros((256, 256), np.uint8)], ABOUT)
    text = (tmp_path / "s" / "table.csv").read_text()
    (tmp_path / "s" / "table.csv").write_text(text.replace("labels", "label"))
    with pytest.raises(InputError, match=r"lacks the column\(s\) labels"):
        store.open_store(tmp_path / "s")
    (tmp_path / "s" / "table.csv").write_text(text + text.splitlines()[1] + "\n")
    with pytest.raises(InputError, match="beside 2 rows"):
        store.open_store(tmp_path / "s")
    (tmp_path / "s" / "images.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(InputError, match="cannot be read"):
        store.open_store(tmp_path / "s")
    for text in ("{", '{"source": "x"}', '{"source": "x", "listed": {}, "made": {}, "more": 1}'):
        (tmp_path / "s" / "about.json").write_text(text)
        with pytest.raises(InputError, match="damaged store"):
            store.read_about(tmp_path / "s")
    (tmp_path / "s" / "about.json").unlink()
    with pytest.raises(InputError, match="not an image store"):
        store.open_store(tmp_path / "s")


def test_files_appear_whole_or_not_at_all(tmp_path, monkeypatch):
    files.write_text(tmp_path / "a", "old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        files.write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_rows_are_read_alike_from_memory_file_and_part_of_a_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    rows = np.array([7, 0, 7, 3])
    for given, expected in ((images, images), (mapped, images), (mapped[1:], images[1:]), (mapped[::-1], images[::-1])):
        np.testing.assert_array_equal(store.read_rows(given, rows), expected[rows])


def test_a_file_that_is_too_short_gives_no_half_row(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 4, 4), np.uint8))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-3])
    with pytest.raises(OSError, match="ends before row 8"):
        store.read_rows(mapped, np.array([8]))


def test_hashes_of_rows_are_those_of_their_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_ROWS_AT_ONCE", 2)
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    found = store.hash_rows(images, np.array([4, 0, 2]))
    assert found == {i: hashlib.sha256(images[i].tobytes()).digest() for i in (0, 2, 4)}
