"""A run does not depend on how JAX is configured."""

import contextlib

import pytest

from tests.base.test_numerics import other_settings


@pytest.mark.slow  # its parts are in tests/base/test_numerics.py
def test_a_run_has_the_same_numbers_under_every_setting(run_small):
    """Bit by bit: draws, splits, weights and metrics. `eager` computes other roundings, see the tests of each part."""
    folders = []
    for settings in (contextlib.nullcontext, other_settings):
        with settings():
            folders.append(run_small(first_seed=5, seeds=1, epochs=1))
    files = sorted(path.name for path in folders[0].glob("*.csv"))
    assert {"results.csv", "metrics.csv", "predictions.csv", "history.csv", "floors.csv"} <= set(files)
    for name in files:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
