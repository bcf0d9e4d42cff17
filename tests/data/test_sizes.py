"""Images of other sizes than 256: what is enlarged is counted, a store of another size is refused with the remedy."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.base.flags import SourceFlags
from cxrjax.data import load, phantom
from cxrjax.storage import store
from tests.experiments.commands import call

NONE_OF_BEFORE = ("enlarged", "flags")  # fields of about.json that earlier versions did not write


def class_folders(root, *sides):
    """An image of noise of each width and height, in a folder whose label `--classes=A=Pneumonia` explains."""
    rng = np.random.default_rng(0)
    (root / "A").mkdir(parents=True)
    for number, side in enumerate(sides):
        Image.fromarray(rng.integers(0, 256, (side, side), dtype=np.uint8)).save(root / "A" / f"{number}.png")
    return root


def prepared(source, out, *flags):
    """The store of `class_folders`."""
    assert call("prepare", f"--source={source}", f"--out={out}", "--classes=A=Pneumonia", *flags) == 0
    return out


def about_of(folder):
    return json.loads((folder / "about.json").read_text())


def remedy(message):
    """The words of the command that a refusal ends with, without the program."""
    command = message.partition("from the originals: ")[2]
    assert command.startswith("python -m experiments.prepare --source=")
    return shlex.split(command)[3:]


@pytest.mark.parametrize(
    ("sides", "enlarged"),
    [
        ((64, 64, 40), {"size": 32, "images": 0, "of": 3, "median": 0, "smallest": 0}),
        ((16, 16, 20, 40, 32), {"size": 32, "images": 3, "of": 5, "median": 16, "smallest": 16}),
    ],
)
def test_a_store_knows_what_was_enlarged(tmp_path, sides, enlarged, capsys, caplog):
    out = prepared(class_folders(tmp_path / "set", *sides), tmp_path / "out", "--size=32")
    assert about_of(out)["enlarged"] == enlarged
    said = f"size: {enlarged['images'] or 'none'} of {len(sides)} images enlarged to 32 pixels"
    assert said in capsys.readouterr().out
    with caplog.at_level("INFO"):
        assert load.load(str(out), size=32)[1].enlarged == enlarged
    assert said in caplog.text


def test_an_interrupted_preparation_counts_what_was_read_before(tmp_path, capsys):
    source = class_folders(tmp_path / "set", 16, 20, 40)
    (source / "A" / "3.png").write_bytes(b"")
    flags = (f"--source={source}", "--classes=A=Pneumonia", "--size=32")
    assert call("prepare", *flags, f"--out={tmp_path / 'out'}") == 2
    for place in ("once", "out"):
        assert call("prepare", *flags, f"--out={tmp_path / place}", "--max_bad=0.5") == 0
    assert " 0 read in " in capsys.readouterr().out.splitlines()[-1]
    assert about_of(tmp_path / "out") == about_of(tmp_path / "once")
    assert about_of(tmp_path / "out")["enlarged"] == {"size": 32, "images": 2, "of": 3, "median": 16, "smallest": 16}


def test_images_that_are_left_out_are_not_counted(tmp_path):
    source = class_folders(tmp_path / "set", 40, 16)
    (source / "A" / "2.png").write_bytes((source / "A" / "1.png").read_bytes())  # a copy, of an unknown patient
    assert about_of(prepared(source, tmp_path / "out", "--size=32"))["enlarged"]["of"] == 2


@pytest.mark.parametrize(
    ("made", "size", "why", "flags"),
    [
        ((), 64, "small ones are not enlarged", ["--size=64"]),
        ((), 24, "reduced twice they would be other pixels", ["--size=24"]),
        (("--fit=pad", "--filter=box"), 64, "", ["--size=64", "--fit=pad", "--filter=box"]),
        (("--range=full", "--masks=keep"), 64, "", ["--size=64", "--range=full", "--masks=keep"]),
    ],
)
def test_a_store_of_another_size_is_refused_with_the_command_that_makes_the_right_one(tmp_path, made, size, why, flags):
    out = prepared(class_folders(tmp_path / "a set", 40, 50), tmp_path / "my store", "--size=32", *made)
    with pytest.raises(InputError, match=f"of 32 pixels a side, .* takes {size}: {why}") as error:
        load.load(str(out), size=size)
    words = remedy(str(error.value))
    place = [f"--source={tmp_path / 'a set'}", f"--out={out}-{size}"]
    assert sorted(words) == sorted([*place, *flags, "--classes=A=Pneumonia"])
    assert call("prepare", *words) == 0
    images, about = load.load(f"{out}-{size}", size=size)
    assert images.images.shape == (2, size, size)
    before = store.read_about(out).made
    assert about.made == before | {"size": size}


def test_of_a_store_of_before_the_command_says_what_it_knows(tmp_path):
    out = prepared(class_folders(tmp_path / "set", 40), tmp_path / "out", "--size=32")
    about = {name: value for name, value in about_of(out).items() if name not in NONE_OF_BEFORE}
    del about["made"]["range"]  # all values set black and white then
    (out / "about.json").write_text(json.dumps(about))
    opened = load.load(str(out), size=32)[1]
    assert (opened.enlarged, opened.flags) == ({}, [])
    with pytest.raises(InputError) as error:
        load.load(str(out))
    assert remedy(str(error.value))[1:] == [f"--out={out}-256", "--size=256", "--range=full"]
    (out / "about.json").write_text(json.dumps(about | {"made": {}}))
    with pytest.raises(InputError, match=r"--source=ORIGINALS --out=.* --size=256$"):
        load.load(str(out))


def test_the_phantom_has_one_size_and_is_not_drawn_in_vain(monkeypatch):
    monkeypatch.setattr(phantom, "embedded", lambda: pytest.fail("drawn, which takes half a minute"))
    with pytest.raises(InputError, match=r"--data_dir must be given: the embedded phantom has 256 .* takes 512$"):
        load.load(None, size=512)


@pytest.mark.parametrize("size", [256, 366, 512, 585])
def test_a_raw_source_is_prepared_in_each_size(tmp_path, size):
    """As of --image_size 224, 320, 448 and 512."""
    source = class_folders(tmp_path / "set", 512)
    images, about = load.load(str(source), size=size, flags=SourceFlags(classes="A=Pneumonia"))
    assert images.images.shape == (1, size, size)
    assert about.enlarged["images"] == (size > 512)
    again = np.asarray(Image.open(source / "A" / "0.png").resize((size, size), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(images.images[0], again)


def test_a_data_set_of_any_size_is_described(tmp_path):
    out = prepared(class_folders(tmp_path / "set", 16, 40), tmp_path / "out", "--size=32")
    assert call("describe", f"--data_dir={out}", f"--out={tmp_path / 'page'}") == 0
    assert "Enlarged to 32 pixels a side: 1 of 2 images, from 16" in (tmp_path / "page" / "describe.html").read_text()


@pytest.mark.parametrize(
    ("name", "size", "enlarged"),
    [
        ("nih-originals", 512, (0, 35, 0, 0)),
        ("kermany-mini", 256, (120, 120, 224, 224)),
    ],
)
def test_real_images(shared, tmp_path, name, size, enlarged):
    """NIH's originals have 1024 pixels a side, the children's 224."""
    images, about = load.load(str(shared / name), size=size)
    assert images.images.shape[1:] == (size, size)
    assert tuple(about.enlarged.values()) == (size, *enlarged)
