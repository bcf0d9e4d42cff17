"""Strict mode: rank promotion raises, key reuse is checked, warnings are errors (pyproject.toml)."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tolerances are those of float32, which a GPU's TF32 is not

import jax
import numpy as np
import pytest

from cxrjax.datasets import phantom

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

ROOT = Path(__file__).parent.parent


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


@pytest.fixture(scope="session")
def small_phantom() -> phantom.Phantom:
    """Some 90 images of 60 patients."""
    return phantom.phantom(n_patients=60)


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """[40, 256, 256] u8, every pixel different from its neighbours, so that no shift goes unseen."""
    return np.random.default_rng(0).integers(0, 256, (40, 256, 256), dtype=np.uint8)
