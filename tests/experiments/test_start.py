"""Every program joins its processes and opens the compilation cache before anything is read or computed."""

import runpy
import sys

import pytest

from cxrjax.base import devices

PROGRAMS = {
    "p_vs_nf": ["--data_dir=/nowhere"],
    "p_vs_np": ["--data_dir=/nowhere"],
    "readings": ["--data_dir=/nowhere"],
    "sample_size": ["--data_dir=/nowhere"],
    "networks": ["--weights_dir=/nowhere"],
    "imbalance": ["--data_dir=/nowhere"],
    "lakhani": ["--data_dir=/nowhere"],
    "predict": ["--run=/nowhere", "IMAGE"],
    "deep_dream": ["--run=/nowhere"],
    "where_it_looks": ["--run=/nowhere"],
    "report": ["--run=/nowhere"],
    "compare": ["/nowhere", "/elsewhere"],
}


class Started(Exception):
    """`devices.start` was called."""


@pytest.mark.parametrize("program", PROGRAMS)
def test_start_comes_first(program, monkeypatch, tmp_path):
    """A program that opens its run or its data first ends with SystemExit: there are none."""
    (tmp_path / "image.png").touch()
    monkeypatch.chdir(tmp_path)

    def start(cache):
        assert cache.name == "programs"
        raise Started

    monkeypatch.setattr(devices, "start", start)
    arguments = [str(tmp_path / "image.png") if word == "IMAGE" else word for word in PROGRAMS[program]]
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.delitem(sys.modules, f"experiments.{program}", raising=False)
    with pytest.raises(Started):
        runpy.run_module(f"experiments.{program}", run_name="__main__")
