"""Where what is prepared is kept: with and without a home."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data import load


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch, tmp_path):
    """In a container a user may have no line in /etc/passwd."""
    monkeypatch.delenv("CXRJAX_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is where the system knows no home
    with pytest.raises(InputError, match=r"HOME .*CXRJAX_CACHE=FOLDER"):
        load.cache_dir()
    monkeypatch.setenv("CXRJAX_CACHE", str(tmp_path / "new" / "cache"))
    assert load.cache_dir() == tmp_path / "new" / "cache" and load.cache_dir().is_dir()


@pytest.mark.parametrize("variable", ["HOME", "CXRJAX_CACHE"])
def test_a_place_that_cannot_be_made_is_told(variable, monkeypatch, tmp_path):
    monkeypatch.delenv("CXRJAX_CACHE")
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "nobody"))
    with pytest.raises(
        InputError, match=r"file/nobody.* cannot be made a folder: Not a directory; CXRJAX_CACHE=FOLDER"
    ):
        load.cache_dir()


def test_a_cache_in_the_home_by_its_sign(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CXRJAX_CACHE", "~/films")
    assert load.cache_dir() == tmp_path / "films"
    monkeypatch.delenv("CXRJAX_CACHE")
    assert load.cache_dir() == Path(tmp_path, ".cache", "cxrjax")


def test_a_cache_that_may_only_be_read_gives_what_it_has(monkeypatch, tmp_path):
    films = tmp_path / "films" / "NORMAL"
    films.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (64, 64), dtype=np.uint8)).save(films / f"{i}.png")
    access = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode != os.W_OK and access(place, mode))
    with pytest.raises(InputError, match=r"films is not prepared yet, and .* may not be written; CXRJAX_CACHE names"):
        load.load(str(films.parent), max_bad=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", access)
        store, _ = load.load(str(films.parent), max_bad=1)
    again, _ = load.load(str(films.parent), max_bad=1)
    np.testing.assert_array_equal(again.images, store.images)
