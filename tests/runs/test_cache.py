"""What the cache holds and what its removal leaves."""

import fcntl
from pathlib import Path

import numpy as np
from PIL import Image

from cxrjax.data import load
from cxrjax.runs import cache
from cxrjax.storage import array_cache

KEY = "0123456789abcdef"
OWN = {
    "prepared images": [f"stores/films-{KEY}/images.npy", f"stores/.a-b-{KEY}-300.partial/store/table.csv"],
    "activations": [f"activations/{KEY}/values.bin", f"activations/{KEY}/.lock"],
    "compiled programs": ["programs/jit_f-abc-cache", "programs/jit_f-abc-atime"],
    "list of fonts": ["matplotlib/fontlist-v390.json"],
}
OTHERS = [
    "notes.txt", "images.npy", "stores/mine/images.npy", f"stores/films-{KEY}/notes.txt", "programs/program.py",
    f"activations/{KEY}/sub/values.bin", "stores/films-0123/images.npy", f"other/films-{KEY}/images.npy",
]  # fmt: skip


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 5000)


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_only_the_caches_own_files_are_removed(tmp_path):
    place = tmp_path / "cache"
    own = [name for names in OWN.values() for name in names]
    write(place, own + OTHERS)
    (tmp_path / "elsewhere").write_bytes(b"x")
    (place / "programs" / "linked-cache").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "disk").mkdir()
    write(tmp_path / "disk", ["images.npy"])
    (place / "stores" / f"linked-{KEY}").symlink_to(tmp_path / "disk")
    held = cache.sizes(place)
    assert {kind: count for kind, (count, _) in held.items()} == {kind: len(names) for kind, names in OWN.items()}
    assert all(size >= 5000 * count for count, size in held.values())
    assert cache.clear(place) == held
    assert files(place) - {"programs/linked-cache", f"stores/linked-{KEY}"} == set(OTHERS)
    assert (tmp_path / "elsewhere").exists() and files(tmp_path / "disk") == {"images.npy"}
    assert not (place / "matplotlib").exists()  # empty then
    assert cache.clear(place) == dict.fromkeys(OWN, (0, 0))
    assert cache.clear(tmp_path / "none") == dict.fromkeys(OWN, (0, 0))


def test_what_a_program_is_at_work_on_stays(tmp_path):
    other = "fedcba9876543210"
    busy = [f"activations/{KEY}/values.bin", f"activations/{KEY}/.lock"]
    write(tmp_path, [*busy, f"activations/{other}/values.bin", f"activations/{other}/.lock"])
    with (tmp_path / busy[1]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cache.clear(tmp_path)["activations"][0] == 2
    assert files(tmp_path) == set(busy)


def test_all_that_is_really_made_is_known(tmp_path):
    """An image set prepared on the way, at two sizes, and activations."""
    films = tmp_path / "films" / "NORMAL"
    films.mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (64, 64), dtype=np.uint8)).save(films / f"{i}.png")
    for size in (256, 300):
        load.load(str(films.parent), max_bad=1, size=size)
    place = load.cache_dir()
    array_cache.ensure(
        place / "activations" / KEY, [bytes(32)], (2,), np.dtype(np.float32), lambda _: iter([np.zeros((1, 2), "f4")])
    )
    made = files(place)
    assert len(made) > 10 and sum(count for count, _ in cache.sizes(place).values()) == len(made)
    cache.clear(place)
    assert list(Path(place).iterdir()) == []
