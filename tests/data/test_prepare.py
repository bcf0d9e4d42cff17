"""Bad inputs, one by one, and what the user sees (the table in tests/README.md); interruptions; speed is not tested."""

import functools
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import threading
import time
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.data import decode, phantom, prepare, reading, sources
from cxrjax.storage import store
from experiments import prepare as command
from tests.conftest import ROOT
from tests.data.dicom_files import NAME, dicom, written
from tests.experiments import commands

GOOD = 6


@functools.cache
def chest():
    return phantom.phantom(n_patients=1).images[0, ::2, ::2]


def grey(value):
    """An image that raises no doubt, different for each value."""
    image = chest().copy()
    image[:4, :4] = value % 256
    return image


def png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, format="PNG")
    return path


@pytest.fixture
def hospital(tmp_path):
    """A folder of class folders with six good images."""
    for i in range(GOOD):
        png(tmp_path / "set" / ("NORMAL" if i % 2 else "PNEUMONIA") / f"{i}.png", grey(20 * i))
    return tmp_path / "set"


def call(source, out, *flags):
    """Exit status of the command line."""
    return commands.call("prepare", f"--source={source}", f"--out={out}", *flags)


def reasons(out):
    bad = store.read_bad_images(out)
    return dict(zip(bad["image"], bad["reason"], strict=True))


def bomb(width, height):
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def truncated(path):
    path.write_bytes(path.read_bytes()[:-40])


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(bytes(content))


def two_frames(path):
    frames = [Image.fromarray(grey(v)) for v in (1, 2)]
    frames[0].save(path, format="TIFF", save_all=True, append_images=frames[1:])


def not_finite(path):
    image = grey(3).astype(np.float32)
    image[3, 3] = np.nan
    Image.fromarray(image).save(path, format="TIFF")


BAD = {  # what is done to the file, and what the user reads
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "no image": (lambda path: path.write_text("<html>404"), "is not an image of a known format"),
    "truncated": (truncated, "cannot be decoded"),
    "corrupt": (corrupt, "cannot be decoded"),
    "bomb": (lambda path: path.write_bytes(bomb(40_000, 40_000)), "more than the 50 million pixels allowed"),
    "large": (lambda path: path.write_bytes(bomb(8_000, 8_000)), "8000 x 8000 pixels, more than the 50 million"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
    "dangling link": (lambda path: (path.unlink(), path.symlink_to("nowhere")), "cannot be read: No such file"),
    "several frames": (two_frames, "holds several frames"),
    "not finite": (not_finite, "values that are not finite"),
    "script": (lambda path: path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n"), "is not an image of a known format"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_left_out_and_named(hospital, tmp_path, kind, capsys):
    spoil, reason = BAD[kind]
    png(hospital / "NORMAL" / "bad.png", np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    spoil(hospital / "NORMAL" / "bad.png")
    assert call(hospital, tmp_path / "out", "--max_bad=0.5") == 0
    assert len(store.open_store(tmp_path / "out").table) == GOOD
    told = reasons(tmp_path / "out")
    assert list(told) == ["NORMAL/bad.png"]
    assert reason in told["NORMAL/bad.png"]
    assert "6 images of class folders" in capsys.readouterr().out


def test_more_bad_images_than_allowed_end_with_status_2_and_nothing_is_read_twice(hospital, tmp_path, capsys):
    (hospital / "NORMAL" / "bad.png").write_bytes(b"")
    assert call(hospital, tmp_path / "out") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: 1 of 7 images (14.3 %) are bad, more than --max_bad=0.01 allows")
    assert "NORMAL/bad.png is empty" in line
    listed = line.split("listed in ")[1]
    assert list(pd.read_csv(listed)["reason"]) == ["is empty"]
    assert not (tmp_path / "out").exists()
    assert call(hospital, tmp_path / "out", "--max_bad=0.2") == 0
    assert "6 images of class folders" in (told := capsys.readouterr().out)
    assert ", 0 read in" in told


def test_only_bad_images_are_no_store(tmp_path, capsys):
    (tmp_path / "NORMAL").mkdir()
    (tmp_path / "NORMAL" / "a.png").write_bytes(b"x")
    assert call(tmp_path, tmp_path / "out", "--max_bad=1") == 2
    assert "none of the 1 images can be used" in capsys.readouterr().err


def test_a_missing_file_of_a_table_is_named(tmp_path):
    png(tmp_path / "a.png", grey(1))
    (tmp_path / "t.csv").write_text("path,label\na.png,NORMAL\nb.png,PNEUMONIA\na.png,PNEUMONIA\n")
    assert call(tmp_path / "t.csv", tmp_path / "out", "--max_bad=0.5") == 0
    bad = store.read_bad_images(tmp_path / "out")
    assert bad[["image", "left_out", "reason"]].to_numpy().tolist() == [
        ["a.png", False, "listed as 'No Finding' and as 'Pneumonia': its label is unknown"],
        ["b.png", True, "cannot be read: No such file or directory"],
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any file")
def test_a_file_that_may_not_be_read_is_named(hospital, tmp_path):
    (hospital / "NORMAL" / "1.png").chmod(0)
    assert call(hospital, tmp_path / "out", "--max_bad=0.5") == 0
    assert reasons(tmp_path / "out") == {"NORMAL/1.png": "cannot be read: Permission denied"}


def test_an_unreadable_file_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    path = png(tmp_path / "a.png", grey(1))
    with pytest.raises(sources.InputError, match="cannot be read: Permission denied"):
        sources.read_file(path)


def test_same_pixels_are_told_and_of_unknown_patients_left_out(hospital, tmp_path):
    png(hospital / "NORMAL" / "person1_a.png", grey(0))  # as PNEUMONIA/0.png, sorted before it
    png(hospital / "NORMAL" / "person1_b.png", grey(0))  # the same patient and label: no contradiction
    png(hospital / "NORMAL" / "x.png", grey(0))  # whose it is is not known
    assert call(hospital, tmp_path / "out", r"--patient_regex=^(person\d|\d)") == 0
    bad = store.read_bad_images(tmp_path / "out")
    as_first = "same pixels as NORMAL/person1_a.png"
    assert dict(zip(bad["image"], bad["reason"], strict=True)) == {
        "NORMAL/person1_b.png": as_first,
        "NORMAL/x.png": f"{as_first}; left out, its patient is unknown",
        "PNEUMONIA/0.png": f"{as_first}, whose label is 'No Finding', not 'Pneumonia', whose patient is 'person1', "
        "not '0'",
    }
    assert list(bad["image"][bad["left_out"]]) == ["NORMAL/x.png"] and bad["passed_over"].sum() == 1
    assert len(store.open_store(tmp_path / "out").table) == GOOD + 2


def test_copies_of_unknown_patients_cannot_come_on_both_sides_of_a_split(tmp_path, capsys):
    for i in range(6):
        for name in (f"xr{i}.png", f"xr{i} (1).png"):
            png(tmp_path / "set" / ("NORMAL" if i % 2 else "PNEUMONIA") / name, grey(i))
    png(tmp_path / "set" / "NORMAL" / "as xr0.png", grey(0))  # another label: unknown
    assert call(tmp_path / "set", tmp_path / "out") == 0
    assert "7 images of unknown patients have the same pixels as others and are left out" in capsys.readouterr().out
    opened = store.open_store(tmp_path / "out")
    assert len(opened.table) == 6 == len(np.unique(np.asarray(opened.images), axis=0))
    assert dict(opened.table["labels"].value_counts()) == {"No Finding": 3, "Pneumonia": 2, "": 1}
    account = store.read_about(tmp_path / "out").patients
    assert (account["images"], account["unknown"]) == (6, 6)


def test_doubtful_images_are_kept_listed_counted_and_shown(hospital, tmp_path, capsys):
    """By the rule by which `predict` refuses them, whatever --max_bad says; again the same after an interruption."""
    png(hospital / "NORMAL" / "negative.png", 255 - chest())
    png(hospital / "NORMAL" / "tiny.png", chest()[::2, ::2])
    png(hospital / "NORMAL" / "white.png", np.full((200, 200), 255, np.uint8))
    (hospital / "PNEUMONIA" / "bad.png").write_bytes(b"")
    assert call(hospital, tmp_path / "out", "--max_bad=0") == 2
    (hospital / "PNEUMONIA" / "bad.png").unlink()
    capsys.readouterr()
    assert call(hospital, tmp_path / "out", "--max_bad=0") == 0
    assert f"{GOOD + 3} images of class folders" in (shown := capsys.readouterr().out)
    assert "0 bad, 3 doubtful (1 blank, 1 inverted, 1 small), 0 files" in shown
    assert ", 0 read in" in shown
    told = reasons(tmp_path / "out")
    assert list(told) == ["NORMAL/negative.png", "NORMAL/tiny.png", "NORMAL/white.png"]
    for (name, reason), start in zip(told.items(), ("is inverted", "has 64 x 64 pixels", "is blank"), strict=True):
        assert reason.startswith(start)
        assert reason == decode.decode((hospital / name).read_bytes(), name).doubt.reason
    assert call(hospital, tmp_path / "once") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")
    assert (tmp_path / "out" / "contact_sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_store_without_a_contact_sheet_opens(hospital, tmp_path):
    assert call(hospital, tmp_path / "out") == 0
    (tmp_path / "out" / "contact_sheet.png").unlink()
    assert len(store.open_store(tmp_path / "out").table) == GOOD
    assert call(hospital, tmp_path / "out", "--overwrite") == 0
    assert (tmp_path / "out" / "contact_sheet.png").is_file()


def nih(root, n=4):
    root.mkdir()
    rows = [f"{i:08d}_000.png,No Finding,0,{i},50,M,PA" for i in range(n)]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    (root / "Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    return [png(root.parent / "all" / f"{i:08d}_000.png", grey(10 * i)) for i in range(n)]


def test_members_that_point_outside_are_not_read(tmp_path):
    images = nih(tmp_path / "nih")
    with tarfile.open(tmp_path / "nih" / "images_001.tar.gz", "w:gz") as tar:
        tar.add(images[0], "images/00000000_000.png")
        tar.add(images[1], "../00000001_000.png")
        link = tarfile.TarInfo("images/00000002_000.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        absolute = tarfile.TarInfo("/00000003_000.png")
        absolute.size = 5
        tar.addfile(absolute, io.BytesIO(b"12345"))
    assert call(tmp_path / "nih", tmp_path / "out", "--max_bad=0.9") == 0
    assert list(store.open_store(tmp_path / "out").table["image"]) == ["00000000_000.png"]
    assert reasons(tmp_path / "out") == {
        "00000001_000.png": "points outside its archive",
        "00000002_000.png": "is a link or a device, not a file",
        "00000003_000.png": "points outside its archive",
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all", "nih", "out"]


def test_a_name_in_two_archives_is_reported_and_the_first_is_used(tmp_path):
    images = nih(tmp_path / "nih", 2)
    for number, names in (("001", images[:1]), ("002", images)):
        with tarfile.open(tmp_path / "nih" / f"images_{number}.tar.gz", "w:gz") as tar:
            for path in names:
                tar.add(path, f"images/{path.name}")
    assert call(tmp_path / "nih", tmp_path / "out") == 0
    bad = store.read_bad_images(tmp_path / "out")
    assert bad["reason"].to_list() == ["duplicate name: only the first file of this name is used"]
    assert bad["origin"][0].endswith("images_002.tar.gz!images/00000000_000.png")
    assert not bad["left_out"].any()


@pytest.mark.parametrize("cut", [0.5, 0.0])
def test_an_archive_that_is_half_downloaded_gives_its_first_images(tmp_path, cut):
    images = nih(tmp_path / "nih", 40)
    for path in images:
        Image.fromarray(np.random.default_rng(int(path.name[:8])).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    packed = tmp_path / "nih" / "images_001.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        for path in images:
            tar.add(path, f"images/{path.name}")
    whole = packed.read_bytes()
    packed.write_bytes(whole[: int(cut * len(whole))])
    status = call(tmp_path / "nih", tmp_path / "out", "--max_bad=0.2")
    if not cut:
        assert status == 2
        return
    assert status == 0
    assert 10 < len(store.open_store(tmp_path / "out").table) < 40
    assert (
        "damaged or incomplete (ends too early); the part before that is used" in reasons(tmp_path / "out")[packed.name]
    )
    packed.write_bytes(whole)  # the rest has arrived
    assert call(tmp_path / "nih", tmp_path / "out", "--overwrite") == 0
    assert len(store.open_store(tmp_path / "out").table) == 40


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 100)
    with pytest.raises(sources.InputError, match="more than the 0 MB allowed"):
        sources.read_file(png(tmp_path / "a.png", grey(1)))
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "a.png")
    (member,) = sources.members(tmp_path / "a.tar", 100)
    assert "bytes, more than the 0 MB allowed" in member.fault
    assert not member.content


@pytest.mark.filterwarnings("ignore::UserWarning")  # of pydicom, which writes the odd values here
def test_patient_names_are_never_written(tmp_path, capfd):
    for i, elements in enumerate(
        ({}, {"Rows": 99}, {"NumberOfFrames": "2"}, {"PatientAge": "ABC", "PatientID": "x" * 80})
    ):
        path = tmp_path / "set" / "NORMAL" / f"{i}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dicom(np.arange(256).reshape(16, 16), **elements))
    assert call(tmp_path / "set", tmp_path / "out", "--max_bad=0.9") == 0
    seen = capfd.readouterr()
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for part in NAME.split("^"):
        assert part not in seen.out + seen.err
        assert part.encode() not in written


def test_images_are_never_modified(hospital, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(hospital.rglob("*.png"))}
    assert call(hospital, tmp_path / "out") == 0
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(hospital.rglob("*.png"))}


def test_what_is_there_is_not_replaced_unasked(hospital, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(hospital, out) == 0
    assert call(hospital, out) == 2
    assert "holds a finished store; --overwrite replaces it" in capsys.readouterr().err
    assert call(hospital, out, "--overwrite", "--size=32") == 0
    assert store.open_store(out).images.shape == (GOOD, 32, 32)
    assert call(hospital, hospital) == 2
    assert "holds files that are not a store's" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "set"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_store_of_other_settings_is_refused(hospital, tmp_path, capsys):
    (hospital / "NORMAL" / "bad.png").write_bytes(b"")
    assert call(hospital, tmp_path / "out") == 2
    assert call(hospital, tmp_path / "out", "--fit=pad") == 2
    assert "other settings: fit (was 'stretch', now 'pad')" in capsys.readouterr().err
    (hospital / "NORMAL" / "bad.png").unlink()
    assert call(hospital, tmp_path / "out", "--fit=pad", "--overwrite") == 0
    assert call(hospital, tmp_path / "once", "--fit=pad") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


def test_a_file_that_changed_meanwhile_is_read_again(hospital, tmp_path):
    (hospital / "NORMAL" / "bad.png").write_bytes(b"")
    assert call(hospital, tmp_path / "out") == 2
    png(hospital / "NORMAL" / "bad.png", grey(7))
    png(hospital / "NORMAL" / "1.png", grey(200))
    assert call(hospital, tmp_path / "out") == 0
    assert call(hospital, tmp_path / "once") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


@pytest.mark.parametrize("place", ["rows", "tables", "images"])
def test_a_full_disk_is_one_line_and_the_store_goes_on(hospital, tmp_path, monkeypatch, capsys, place):
    def full(*arguments, **named):
        raise OSError(28, "No space left on device")

    target = {
        "rows": (reading.Partial, "commit"),
        "tables": (prepare, "write_tables"),
        "images": (prepare, "write_images"),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*target[place], full)
        assert call(hospital, tmp_path / "out") == 2
    line = capsys.readouterr().err.strip()
    assert line.splitlines()[-1].startswith("error: no room left on the disk of")
    assert not (tmp_path / "out").exists()
    assert call(hospital, tmp_path / "out") == 0
    assert call(hospital, tmp_path / "once") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


def test_what_is_read_otherwise_than_a_header_has_it_is_listed_also_after_an_interruption(tmp_path, monkeypatch):
    """Decimal commas in the first image; the second is not there yet when the preparation is interrupted."""
    (tmp_path / "set").mkdir()
    plain = dicom(np.arange(4096).repeat(4).reshape(128, 128), WindowCenter="1" * 16, WindowWidth="2" * 16)
    commas = written(written(plain, "1" * 16, "2048,0"), "2" * 16, "4096,0")
    (tmp_path / "set" / "a.dcm").write_bytes(commas)
    png(tmp_path / "set" / "b.png", grey(3))

    def interrupted(content, name, *rest):
        if name == "b.png":
            raise KeyboardInterrupt
        return decode.decode(content, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "decode", interrupted)
        patch.setattr(prepare, "COMMIT_SECONDS", 0.0)
        call(tmp_path / "set", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert call(tmp_path / "set", tmp_path / "out") == 0
    assert call(tmp_path / "set", tmp_path / "once") == 0
    listed = store.read_bad_images(tmp_path / "out")
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    remarks = [f"{name} has a decimal comma and was read as {value}" for name, value in window.items()]
    assert listed[["image", "left_out", "reason"]].to_numpy().tolist() == [["a.dcm", False, "; ".join(remarks)]]
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


@pytest.mark.parametrize("rule", ["robust", "full"])
def test_the_range_is_a_flag_and_on_record(tmp_path, rule):
    deep = np.arange(65536).reshape(256, 256) // 20
    deep[:10, :10] = 65535
    (tmp_path / "set").mkdir()
    Image.fromarray(deep.astype(np.uint16)).save(tmp_path / "set" / "a.png")
    assert call(tmp_path / "set", tmp_path / "out", f"--range={rule}") == 0
    assert (store.open_store(tmp_path / "out").images[0][20:].max() > 250) == (rule == "robust")
    assert json.loads((tmp_path / "out" / "about.json").read_text())["made"]["range"] == rule


RUN = "import sys; from experiments import prepare; prepare.main(sys.argv[1:])"


def begin(source, out, program=RUN):
    return subprocess.Popen(
        [sys.executable, "-c", program, f"--source={source}", f"--out={out}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


LIMITED = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
{RUN}
"""


def test_a_disk_that_is_really_full(tmp_path):
    """The limit on a file's size stands for the disk's end: the system refuses the write."""
    for i in range(40):
        png(tmp_path / "set" / "NORMAL" / f"{i}.png", grey(i))

    process = begin(tmp_path / "set", tmp_path / "out", LIMITED)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.strip().splitlines()[-1].startswith("error: no room left on the disk of")
    assert "Traceback" not in err
    assert call(tmp_path / "set", tmp_path / "out") == 0
    assert call(tmp_path / "set", tmp_path / "once") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


SLOW = f"""
import time
from cxrjax.data import prepare, reading
prepare.COMMIT_SECONDS = 0.02
decode = reading.decode
reading.decode = lambda *args: (time.sleep(0.02), decode(*args))[1]
{RUN}
"""


@pytest.mark.parametrize("at_least", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_equals_one_go(tmp_path, at_least):
    """Files and two archives in another order than the table; kills fall between any two writes."""
    images = nih(tmp_path / "nih", 60)
    (tmp_path / "nih" / "images").mkdir()
    for path in images[:20]:
        path.rename(tmp_path / "nih" / "images" / path.name)
    for number, part in (("001", images[40:]), ("002", images[20:40])):
        with tarfile.open(tmp_path / "nih" / f"images_{number}.tar.gz", "w:gz") as tar:
            for path in part:
                tar.add(path, f"images/{path.name}")
    assert call(tmp_path / "nih", tmp_path / "once") == 0
    moments, kills, run = random.Random(0), 0, 0
    while kills < at_least:
        out, run = tmp_path / f"out {run}", run + 1
        for _ in range(4):
            process = begin(tmp_path / "nih", out, SLOW)
            partial = out.parent / f".{out.name}.partial" / "ledger.jsonl"
            while process.poll() is None and not partial.exists():
                time.sleep(0.005)
            try:
                _, err = process.communicate(timeout=moments.uniform(0, 0.5))
                assert process.returncode == 0, err
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                assert not out.exists() or store.is_store(out)
        if not out.exists():
            assert call(tmp_path / "nih", out) == 0
        assert contents(out) == contents(tmp_path / "once")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@pytest.mark.parametrize(
    ("step", "order"),
    [("table.csv", "in order"), ("about.json", "reversed"), ("images.npy", "reversed"), ("out", "in order")],
)
def test_a_kill_while_the_store_takes_its_place(tmp_path, monkeypatch, step, order):
    """After each of the last steps, which a kill at random hardly meets; rows in the table's order or not."""
    images = nih(tmp_path / "nih", 6)
    parts = (images[:3], images[3:])
    for number, names in zip(("001", "002"), parts if order == "in order" else parts[::-1], strict=True):
        with tarfile.open(tmp_path / "nih" / f"images_{number}.tar.gz", "w:gz") as tar:
            for path in names:
                tar.add(path, f"images/{path.name}")
    once, out = tmp_path / "once", tmp_path / "out"
    assert call(tmp_path / "nih", once) == 0
    np.testing.assert_array_equal(store.open_store(once).images[:, 0, 0], [10 * i for i in range(6)])

    def after(function):
        def wrapped(path, target, *others):
            result = function(path, target, *others)
            if step in (path.name, getattr(target, "name", "")):
                raise Killed
            return result

        return wrapped

    path = type(out)
    with monkeypatch.context() as patch:
        patch.setattr(path, "replace", after(path.replace))
        patch.setattr(path, "rename", after(path.rename))
        patch.setattr(prepare, "write_images", after(prepare.write_images))
        with pytest.raises(Killed):
            command.main([f"--source={tmp_path / 'nih'}", f"--out={out}"])
    again = ["--overwrite"] if step == "out" else []
    if step == "out":
        assert contents(out) == contents(once)
    assert call(tmp_path / "nih", out, *again) == 0
    assert contents(out) == contents(once)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all", "nih", "once", "out"]


def test_rows_that_are_gone_are_read_again(hospital, tmp_path):
    (hospital / "NORMAL" / "bad.png").write_bytes(b"")
    assert call(hospital, tmp_path / "out") == 2
    (tmp_path / ".out.partial" / "rows.bin").unlink()
    for place in ("out", "once"):
        assert call(hospital, tmp_path / place, "--max_bad=0.5") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")


def test_a_file_that_went_bad_or_away_meanwhile_is_not_kept(hospital, tmp_path):
    (hospital / "NORMAL" / "bad.png").write_bytes(b"")
    assert call(hospital, tmp_path / "out") == 2
    (hospital / "NORMAL" / "1.png").write_bytes(b"")
    (hospital / "PNEUMONIA" / "2.png").unlink()
    for place in ("out", "once"):
        assert call(hospital, tmp_path / place, "--max_bad=0.5") == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "once")
    assert len(store.open_store(tmp_path / "out").table) == GOOD - 2


def test_what_is_not_a_stores_is_never_removed(hospital, tmp_path, capsys):
    assert call(hospital, tmp_path / "out") == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert call(hospital, tmp_path / "out", "--overwrite") == 2
    assert "files that are not a store's (notes.txt)" in capsys.readouterr().err
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_a_link_as_out_means_the_place_it_points_to(hospital, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert call(hospital, tmp_path / "out") == 0
    assert (tmp_path / "out").is_symlink()
    assert store.is_store(tmp_path / "disk")


def test_memory_for_decoding_is_shared():
    """Of a budget of 10, 6 and 6 do not go together, 6 and 4 do, and 99 waits for all and then goes."""
    shared = decode.Budget(10)
    most, held, lock = [0], [0], threading.Lock()

    def work(amount):
        with shared.hold(amount):
            with lock:
                held[0] += min(amount, 10)
                most[0] = max(most[0], held[0])
            time.sleep(0.01)
            with lock:
                held[0] -= min(amount, 10)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (6, 6, 4, 99, 4, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 10


def test_a_header_of_an_archive_that_fills_the_memory_is_refused(tmp_path):
    info = tarfile.TarInfo("x.png")
    info.pax_headers = {"comment": "x" * 2_000_000}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    (member,) = sources.members(tmp_path / "a.tar", 100)
    assert "a header of 20000" in member.fault


def test_two_processes_make_one_store(tmp_path):
    for i in range(30):
        png(tmp_path / "set" / "NORMAL" / f"{i}.png", grey(i))
    both = [begin(tmp_path / "set", tmp_path / "out", SLOW) for _ in range(2)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in both]
    assert sorted(code for _, code in ends) == [0, 2]
    assert any("made by another process" in err or "finished store" in err for err, code in ends if code == 2)
    assert len(store.open_store(tmp_path / "out").table) == 30


def test_ages_that_are_not_understood_are_unknown_and_told(tmp_path, capsys):
    ages = ("40yrs", "8 months", "50-60", ">89", "1962-03-01", "")
    for number in range(len(ages)):
        png(tmp_path / f"{number}.png", np.roll(chest(), number))
    rows = "".join(f"{number}.png,Pneumonia,{age}\n" for number, age in enumerate(ages))
    (tmp_path / "t.csv").write_text(f"path,label,age\n{rows}")
    assert call(tmp_path, tmp_path.parent / "store") == 0
    assert "age: 3 not understood, such as '50-60': unknown" in capsys.readouterr().out
    age = store.open_store(tmp_path.parent / "store").table["age"]
    np.testing.assert_array_equal(age, [40, 0, np.nan, np.nan, np.nan, np.nan])


def test_a_store_below_its_source_is_no_part_of_it(hospital, tmp_path, capsys):
    """Its contact sheet is an image."""
    assert call(hospital, hospital / "store") == 0
    assert call(hospital, tmp_path / "again") == 0
    assert "is a prepared store" in capsys.readouterr().out
    first, second = (store.open_store(folder).table for folder in (hospital / "store", tmp_path / "again"))
    pd.testing.assert_frame_equal(first, second)
