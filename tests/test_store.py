import numpy as np
import pandas as pd
import pytest

from cxrjax import files, store
from cxrjax.types import About, InputError

ABOUT = About("here", {"Pneumonia": 3}, {"x.png": "broken"})


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


def test_rows_without_an_image_are_left_out(tmp_path):
    images = [np.full((256, 256), i, np.uint8) for i in range(3)]
    images[1] = None
    store.write_store(tmp_path / "s", table(3), images, ABOUT)
    opened = store.open_store(tmp_path / "s")
    assert list(opened.table["image"]) == ["0.png", "2.png"]
    assert list(opened.images[:, 5, 5]) == [0, 2]


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
