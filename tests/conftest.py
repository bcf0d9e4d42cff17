"""Strict mode: rank promotion raises, key reuse is checked, warnings are errors (pyproject.toml)."""

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tolerances are those of float32, which a GPU's TF32 is not
# What one worker compiled the others take, processes started by tests and later sessions too.
os.environ["COLUMNS"] = "110"  # as wide as help becomes, wherever the tests run
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax
import numpy as np
import pytest

from cxrjax.analysis.tables import Analysis
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.data import phantom
from cxrjax.report import report
from cxrjax.runs import dreams, experiment
from cxrjax.storage.store import About, write_store
from tests.analysis import run_tables
from tests.models import narrow

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

ROOT = Path(__file__).parent.parent
_DOCS = [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
PAGES = sorted([*_DOCS, Path("README.md"), Path("CONTRIBUTING.md")])  # what people read, relative to ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real radiographs; they are not part of the project."""
    folder = Path(os.environ.get("CXRJAX_SHARED") or ROOT.parent / "shared")
    if not (folder / "nih-mini").is_dir():
        pytest.skip(f"no real radiographs at {folder} (CXRJAX_SHARED names another place)")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared stores of a test stay in its own folder."""
    monkeypatch.setenv("CXRJAX_CACHE", str(tmp_path / "cache"))


MAPPINGS = Path("/proc/self/maps")
MANY = 20_000  # of 65,530 that Linux gives a process; a compiled network takes up to 8,000


def pytest_runtest_logfinish() -> None:
    """Compiled programs are given up before they take all mappings of memory: the next one to be compiled, loaded or
    written could kill the process (an abort or a segmentation fault, of no test's making)."""
    if MAPPINGS.exists() and MAPPINGS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()


@pytest.fixture(scope="session")
def small_phantom() -> phantom.Phantom:
    """Some 90 images of 60 patients."""
    return phantom.phantom(n_patients=60)


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """[40, 256, 256] u8, every pixel different from its neighbours, so that no shift goes unseen."""
    return np.random.default_rng(0).integers(0, 256, (40, 256, 256), dtype=np.uint8)


@pytest.fixture(scope="session")
def small_store(small_phantom: phantom.Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared store of the first 45 images of `small_phantom`."""
    folder = tmp_path_factory.mktemp("small") / "store"
    write_store(folder, small_phantom.table[:45], small_phantom.images[:45], About("phantom", {}, {}, {}))
    return folder


@pytest.fixture(scope="session")
def run_small(small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Runs P vs NF on `small_store`, narrow and from fc8 of random weights if not told otherwise; gives its folder."""

    def run(task: str = "p_vs_nf", **fields: Any) -> Path:
        folder = tmp_path_factory.mktemp("run")
        chosen = {
            "weights": "random",
            "retrain_from": "fc8",
            "seeds": 2,
            "epochs": 1,
            "batch_size": 16,
        } | fields
        chosen = {"model": narrow.ALEXNET.name, "small_ok": True} | chosen
        chosen = {"data_dir": str(small_store)} | chosen
        config = ExperimentConfig(task, task, input="resident", **chosen)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CXRJAX_CACHE", str(folder / "cache"))
            patch.setattr(report, "write_pages", lambda folder, results: None)  # seconds
            patch.setattr(dreams, "first_dream", lambda net, head: np.zeros((2, 2), np.uint8))  # a quarter of the time
            experiment.run(dataclasses.replace(config, out=str(folder / "run")))
        return folder / "run"

    return run


@pytest.fixture(scope="session")
def small_run(run_small: Callable[..., Path]) -> Path:
    """A finished run of two seeds; not to be changed."""
    return run_small(first_seed=3, augment_bank=1)


@pytest.fixture(scope="session")
def run_of(
    run_small: Callable[..., Path], small_phantom: phantom.Phantom, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Task -> a finished run of it on images whose labels were drawn; not to be changed."""

    @functools.cache
    def run(task: str) -> Path:
        of_task, rng = tasks.get(task), np.random.default_rng(0)
        positives = [part.positive.finding for part in of_task.questions]
        others = of_task.negative.finding if of_task.negative.rule != "without" else "No Finding"
        drawn = [np.array(positives)[rng.random(len(positives)) < 0.4] for _ in range(45)]
        labels = ["|".join(present) or others for present in drawn]
        folder = tmp_path_factory.mktemp("labelled") / "store"
        table = small_phantom.table[:45].assign(labels=labels)
        write_store(folder, table, small_phantom.images[:45], About("phantom", {}, {}, {}))
        return run_small(task, data_dir=str(folder), augment_bank=1)

    return run


@pytest.fixture(scope="session")
def case() -> run_tables.Case:
    """Tables of an invented run with all its arms and an external set; not to be changed."""
    return run_tables.case()


@pytest.fixture(scope="session")
def analysed() -> Analysis:
    """The analysis of `case`; not to be changed."""
    return run_tables.analysed()[1]
