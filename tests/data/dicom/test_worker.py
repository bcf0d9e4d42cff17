"""A decoder that crashes, hangs or dies harms nobody else."""

import subprocess
import sys

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless

from cxrjax.base import InputError
from cxrjax.data.dicom import worker
from tests.data.dicom_files import RAMP, compressed, shown

GREY = (RAMP // 16).astype(np.uint8)


@pytest.fixture(scope="module")
def content():
    return compressed(JPEG2000Lossless, GREY, "JPEG2000", 8)


def test_a_decoder_that_crashes_harms_nobody_else(content, monkeypatch):
    worker.close()
    children = []

    def abort():
        pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
        children.append(subprocess.Popen([sys.executable, "-c", "import os; os.abort()"], **pipes))
        return children[-1]

    with monkeypatch.context() as patch:
        patch.setattr(worker, "_child", abort)
        with pytest.raises(InputError, match="its decoder crashed, or took more than"):
            shown(content)
    assert len(children) == 2  # a first crash may be another's fault
    np.testing.assert_array_equal(shown(content), GREY)


def test_a_decoder_that_never_ends_is_ended(content, monkeypatch):
    """A JPEG 2000 box of length 0, at which pydicom goes round for ever."""
    place = content.index(b"ftyp")
    endless = content[: place - 4] + bytes(4) + content[place:]
    monkeypatch.setattr(worker, "LIMIT_SECONDS", 0.1)
    with pytest.raises(InputError, match=r"its decoder crashed, or took more than 0 s"):
        shown(endless)
    monkeypatch.undo()
    shown(content)


def test_an_idle_child_that_died_is_replaced(content):
    shown(content)
    child = worker._idle.get_nowait()
    child.kill()
    worker._idle.put(child)
    np.testing.assert_array_equal(shown(content), GREY)


def test_a_frame_that_cannot_be_decoded_leaves_the_child_as_it_was(content):
    damaged = content.replace(b"\xff\x52", b"\xff\x00", 1)  # no coding style (ISO 15444-1 A.6.1)
    assert damaged != content
    with pytest.raises(InputError, match="cannot be decoded: its decoder fails"):
        shown(damaged)
    np.testing.assert_array_equal(shown(content), GREY)


def test_the_child_finds_what_this_process_found(content, tmp_path, monkeypatch):
    """Whether the package is installed or found by `sys.path`, and wherever the process stands by now."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n', encoding="utf-8")  # knows no site-packages
    interpreter.chmod(0o755)
    worker.close()
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(shown(content), GREY)
    worker.close()
