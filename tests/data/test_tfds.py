"""The TFDS builder: values by hand, official splits, archives, and Beam's examples against those made without it."""

import io
import logging
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from cxrjax.base import InputError
from cxrjax.data.decode import Reduction, decode
from cxrjax.data.sources import nih

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")

from cxrjax.data import tfds as nih_tfds  # noqa: E402 - needs tensorflow_datasets

pytestmark = [
    pytest.mark.tfds,
    # TFDS reads its own description with a call that protobuf 6 calls deprecated.
    pytest.mark.filterwarnings(r"ignore:label\(\) is deprecated:DeprecationWarning"),
]

RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"  # DirectRunner looks for a program to download
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]\n"
)
ROWS = """\
00000001_000.png,Cardiomegaly|Emphysema,0,1,58,M,PA,2682,2749,0.143,0.143
00000001_001.png,No Finding,1,1,59,M,AP,2682,2749,0.143,0.143
00000002_000.png,Pneumonia,0,2,7,F,PA,2682,2749,0.143,0.143
00030805_000.png,Atelectasis|Pneumothorax|Infiltration,12,30805,81,F,AP,2682,2749,0.143,0.143
00030805_001.png,Hernia,13,30805,,,,2682,2749,0.143,0.143
00030806_000.png,No Finding,0,30806,40,F,AP,2682,2749,0.143,0.143
"""  # the last is not downloaded
BOXES = """\
Image Index,Finding Label,Bbox [x,y,w,h],,,
00000001_000.png,Cardiomegaly,512,256,256,128,,,
00030805_000.png,Infiltrate,0,0,1024,512,,,
00030805_000.png,Pneumothorax,768,896,512,128,,,
"""  # the last reaches beyond the image
TRAIN = ("00000001_000.png", "00000001_001.png", "00000002_000.png")
TEST = ("00030805_000.png", "00030805_001.png")
NAMES = (*TRAIN, *TEST)


def png(seed):
    """A PNG of 320 x 320 pixels, its own for each seed."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)
    Image.fromarray(pixels).resize((320, 320), Image.Resampling.BICUBIC).save(stream, "PNG")
    return stream.getvalue()


def tables(root, lists=True):
    root.mkdir(parents=True, exist_ok=True)
    (root / "Data_Entry_2017_v2020.csv").write_text(HEADER + ROWS)
    (root / "BBox_List_2017.csv").write_text(BOXES)
    if lists:
        (root / "train_val_list.txt").write_text("\n".join(TRAIN))
        (root / "test_list.txt").write_text("\n".join((*TEST, "00030806_000.png")))
    return root


def nih_folder(root, lists=True):
    """Five images of a table of six."""
    tables(root, lists)
    (root / "images").mkdir()
    for seed, name in enumerate(NAMES):
        (root / "images" / name).write_bytes(png(seed))
    return root


def pack(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(f"images/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def build(folder, out, size=256, beam=False, **settings):
    builder = tfds.builder(f"nih_chest_xray14/{size}px", data_dir=out, **({"beam": True} if beam else {}))
    if beam:
        options = pytest.importorskip("apache_beam.options.pipeline_options", reason="needs the extra beam")
        settings |= {"beam_runner": RUNNER, "beam_options": options.PipelineOptions([])}
    config = tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False, **settings)
    builder.download_and_prepare(download_config=config)
    return builder


def examples(builder, split="all"):
    read = tfds.ReadConfig(interleave_cycle_length=1)
    return list(builder.as_dataset(split=split, read_config=read).as_numpy_iterator())


def assert_same(first, second):
    """Examples are equal and in the same order."""
    assert [example["name"] for example in first] == [example["name"] for example in second]
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {"boxes"}:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
        for key in ("bbox", "finding"):
            np.testing.assert_array_equal(one["boxes"][key], other["boxes"][key], err_msg=key)


@pytest.fixture(scope="class")
def dummy(request, tmp_path_factory):
    request.cls.EXAMPLE_DIR = nih_folder(tmp_path_factory.mktemp("nih") / "dummy")


@pytest.mark.usefixtures("dummy")
class TestBuilder(tfds.testing.DatasetBuilderTestCase):
    """TFDS' own checks: registered, both configurations built, read and reloaded, no example in two splits."""

    DATASET_CLASS = nih_tfds.NihChestXray14
    SPLITS = {"train": 3, "test": 2}  # noqa: RUF012 - as TFDS declares it


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The default configuration of the folder; not to be changed."""
    folder = tmp_path_factory.mktemp("plain")
    return build(nih_folder(folder / "nih"), folder / "out")


def test_features_hold_what_the_tables_say(plain):
    builder = plain
    assert builder.info.supervised_keys == ("image", "labels")
    assert builder.info.metadata["labels"] == list(nih.FINDINGS)
    by_name = {example["name"].decode(): example for example in examples(builder)}
    first, gappy = by_name["00000001_000.png"], by_name["00030805_001.png"]
    assert first["patient"] == 1
    assert first["age"] == 58
    assert first["follow_up"] == 0
    assert first["sex"] == builder.info.features["sex"].str2int("M") == 1
    assert first["view"] == builder.info.features["view"].str2int("PA") == 1
    np.testing.assert_array_equal(np.flatnonzero(first["labels"]), [1, 5])  # Cardiomegaly, Emphysema
    np.testing.assert_array_equal(first["boxes"]["bbox"], [[0.25, 0.5, 0.375, 0.75]])  # y, x, y, x
    np.testing.assert_array_equal(first["boxes"]["finding"], [1])
    assert (gappy["age"], gappy["sex"], gappy["view"], gappy["follow_up"]) == (-1, -1, -1, 13)
    assert gappy["patient"] == 30805
    assert gappy["boxes"]["bbox"].shape == (0, 4)
    two = by_name["00030805_000.png"]
    assert (two["age"], two["sex"], two["view"]) == (81, 0, 0)
    np.testing.assert_array_equal(np.flatnonzero(two["labels"]), [0, 8, 13])
    np.testing.assert_array_equal(two["boxes"]["bbox"], [[0, 0, 0.5, 1], [0.875, 0.75, 1, 1]])
    np.testing.assert_array_equal(two["boxes"]["finding"], [8, 13])
    assert not by_name["00000001_001.png"]["labels"].any()


@pytest.mark.parametrize("size", [256, 1024])
def test_pixels_are_those_of_decode(tmp_path, plain, size):
    builder = plain if size == 256 else build(nih_folder(tmp_path / "nih"), tmp_path / "out", size)
    images = {example["name"].decode(): example["image"] for example in examples(builder)}
    assert set(images) == set(NAMES)
    for seed, name in enumerate(NAMES):
        assert images[name].shape == (size, size, 1)
        np.testing.assert_array_equal(images[name][..., 0], decode(png(seed), name, Reduction(size)).pixels)


def test_description_and_citation_are_those_of_the_files(plain):
    assert plain.info.description.startswith("ChestX-ray14 of the NIH Clinical Center")
    assert "10.1109/CVPR.2017.369" in plain.info.citation


def test_official_splits_and_the_default_configuration(tmp_path):
    folder = nih_folder(tmp_path / "nih")
    config = tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False)
    parts = tfds.load(
        "nih_chest_xray14", data_dir=tmp_path / "out", download_and_prepare_kwargs={"download_config": config}
    )
    assert parts["train"].element_spec["image"].shape == (256, 256, 1)
    names = {split: {e["name"].decode() for e in part.as_numpy_iterator()} for split, part in parts.items()}
    assert names == {"train": set(TRAIN), "test": set(TEST)}


def test_without_lists_there_is_one_split(tmp_path):
    builder = build(nih_folder(tmp_path / "nih", lists=False), tmp_path / "out")
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"unsplit": 5}
    assert len(examples(builder, "all")) == 5


def test_an_image_in_neither_list_goes_to_no_split(tmp_path, caplog):
    folder = nih_folder(tmp_path / "nih")
    (folder / "train_val_list.txt").write_text("\n".join(TRAIN[:2]))
    (folder / "test_list.txt").unlink()
    builder = build(folder, tmp_path / "out")
    assert {name: split.num_examples for name, split in builder.info.splits.items()} == {"train": 2}
    assert "3 images are not in train_val_list.txt or test_list.txt" in caplog.text
    assert "no image of the split test" in caplog.text


def test_lists_that_name_no_image_are_refused(tmp_path):
    folder = nih_folder(tmp_path / "nih")
    for name in nih.LISTS:
        (folder / name).write_text(f"other than in {name}".replace(" ", "_"))
    with pytest.raises(InputError, match="no image is in train_val_list"):
        build(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Hernia", "Hiccups|Hernia", "not understood: 'Hiccups'"),
        ("Hernia", "Tuberculosis|Hernia", "has not: 'Tuberculosis'"),
        ("Hernia", "no Hernia", "must have a complete list of findings, got '-Hernia'"),
        (",30805,81,", ",P7,81,", "patient of 00030805_000.png"),
    ],
)
def test_values_that_no_feature_holds_are_refused_at_once(tmp_path, old, new, told):
    folder = nih_folder(tmp_path / "nih")
    (folder / "Data_Entry_2017_v2020.csv").write_text(HEADER + ROWS.replace(old, new))
    with pytest.raises(InputError, match=told):
        build(folder, tmp_path / "out")


def packed_folder(root, content, front, back):
    """Some images as files, some in two archives, and behind them others of their names, which do not count."""
    folder = tables(root, lists=False)
    (folder / "images").mkdir()
    (folder / "images" / NAMES[0]).write_bytes(content[NAMES[0]])
    pack(folder / "images_001.tar.gz", front)
    pack(folder / "images_002.tar.gz", back)
    return folder


def members(content):
    """Of two archives: each image of `content` but the first once before another image of its name."""
    second = [(name, png(99)) for name in NAMES]
    front = [(NAMES[1], content[NAMES[1]]), second[0], (NAMES[3], content[NAMES[3]])]
    return front, [*second[:2], second[3], *((name, content[name]) for name in NAMES[2::2])]


def test_beam_makes_the_same_examples_in_the_same_order(tmp_path, monkeypatch, caplog):
    """Of files and archives in several parts, with names that come twice and a damaged image, in several shards."""
    monkeypatch.setattr("cxrjax.data.tfds.examples.CHUNK", 2)
    content = {name: png(seed) for seed, name in enumerate(NAMES)}
    content[NAMES[3]] = content[NAMES[3]][:500]  # its second copy is not taken for it
    folder = packed_folder(tmp_path / "nih", content, *members(content))
    for name in (NAMES[2], NAMES[4]):
        (folder / "images" / name).write_bytes(content[name])
    plain = build(folder, tmp_path / "plain", num_shards=2)
    with caplog.at_level(logging.WARNING, "cxrjax"):
        caplog.clear()
        beam = build(folder, tmp_path / "beam", beam=True, num_shards=2)
    assert plain.info.splits["unsplit"].num_shards == beam.info.splits["unsplit"].num_shards == 2
    assert len(examples(plain)) == 4
    assert_same(examples(plain), examples(beam))
    assert_same(examples(plain), examples(tfds.builder("nih_chest_xray14/256px", data_dir=tmp_path / "beam")))
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("cxrjax")]
    assert len(warnings) == 1 and "left out: " in warnings[0] and f"{NAMES[3]} cannot be decoded" in warnings[0]


@pytest.mark.parametrize("archives", [1, 2])
def test_archives_give_what_the_folder_gives(tmp_path, plain, archives):
    content = {name: png(seed) for seed, name in enumerate(NAMES)}
    front, back = members(content)
    folder = packed_folder(tmp_path / "archives", content, *([front + back, []] if archives == 1 else [front, back]))
    tables(folder)
    packed = build(folder, tmp_path / "packed")
    for split in ("train", "test"):
        assert_same(examples(plain, split), examples(packed, split))


def test_archives_that_are_unpacked_are_not_read(tmp_path, caplog):
    folder = nih_folder(tmp_path / "nih", lists=False)
    (folder / "Data_Entry_2017_v2020.csv").write_text(HEADER + "".join(ROWS.splitlines(keepends=True)[:5]))
    (folder / "images_001.tar.gz").write_bytes(b"not an archive")
    assert len(examples(build(folder, tmp_path / "out"))) == 5
    assert "damaged" not in caplog.text


@pytest.mark.parametrize("layout", ["files", "archives"])
def test_a_damaged_image_is_left_out_and_named(tmp_path, caplog, layout):
    """Its second copy is not taken for it."""
    folder = tables(tmp_path / "nih")
    content = {name: png(seed) for seed, name in enumerate(NAMES)}
    content[NAMES[1]] = content[NAMES[1]][:500]
    if layout == "files":
        (folder / "images").mkdir()
        for name in NAMES:
            (folder / "images" / name).write_bytes(content[name])
    else:
        pack(folder / "images_001.tar.gz", content.items())
        pack(folder / "images_002.tar.gz", [(NAMES[1], png(1))])
    with caplog.at_level(logging.WARNING, "cxrjax"):
        builder = build(folder, tmp_path / "out")
    assert {e["name"].decode() for e in examples(builder, "train")} == {NAMES[0], NAMES[2]}
    assert len(examples(builder, "test")) == 2
    (told,) = [record.getMessage() for record in caplog.records if record.name.startswith("cxrjax")]
    assert told.startswith("left out: ")
    assert f"{NAMES[1]} cannot be decoded" in told


@pytest.mark.parametrize("beam", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_image_at_all_is_an_error(tmp_path, beam):
    folder = nih_folder(tmp_path / "nih")
    for name in TEST:
        (folder / "images" / name).write_bytes(b"no image")
    with pytest.raises((InputError, ValueError), match=r"split test|for split test"):
        build(folder, tmp_path / "out", beam=beam)
    assert not list((tmp_path / "out").rglob("*.tfrecord*"))


def test_without_tfds_the_import_says_what_to_install():
    code = "import sys; sys.modules['tensorflow_datasets'] = None; import cxrjax.data.tfds"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ImportError: cxrjax.data.tfds needs" in done.stderr
    assert 'pip install -e ".[tfds]"' in done.stderr


@pytest.mark.slow
def test_real_radiographs_plain_and_beam(tmp_path, shared):
    plain = examples(build(shared / "nih-mini", tmp_path / "plain"))
    beam = examples(build(shared / "nih-mini", tmp_path / "beam", beam=True))
    assert len(plain) == 1173
    assert_same(plain, beam)
    for example in plain:
        path = shared / "nih-mini" / "images" / example["name"].decode()
        np.testing.assert_array_equal(example["image"][..., 0], decode(path.read_bytes(), path.name).pixels)
