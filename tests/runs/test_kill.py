"""Whole runs in processes of their own: killed with SIGKILL again and again, or two of them at one run.

Half of the kills come at a random moment, half while a checkpoint is being written. Each time the same command is
started anew, and in the end it is as if nothing had been.
"""

import json
import os
import random
import subprocess
import sys
import time

import pandas as pd
import pytest

from cxrjax.storage.store import About, write_store
from tests.base.test_devices import free_port
from tests.conftest import ROOT

KILLS = 10
PROGRAM = """
import sys
import numpy as np
from cxrjax.runs import dreams
from cxrjax.training import seed_batches
from experiments import _cli, p_vs_nf
seed_batches.SAVE_SECONDS = 0
dreams.first_dream = lambda net, head: np.zeros((2, 2), np.uint8)  # it would take half of the time
_cli.main(p_vs_nf.CONFIG, "", sys.argv[1:])
"""
FLAGS = (
    "--weights=random", "--retrain_from=fc7", "--seeds=3", "--seed_batch=2", "--epochs=6", "--batch_size=16",
    "--augment_bank=2", "--input=resident", "--small_ok",
)  # fmt: skip
SAME = ("results.csv", "history.csv", "predictions.csv", "resolved.json")


@pytest.fixture(scope="module")
def store(small_phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill") / "store"
    table = small_phantom.table
    write_store(
        folder, table, iter(small_phantom.images), About("phantom", table["labels"].value_counts().to_dict(), {}, {})
    )
    return folder


def begin(store, out, cache, **environment):
    env = {**os.environ, "CXRJAX_CACHE": str(cache), "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-c", PROGRAM, f"--data_dir={store}", f"--out={out}", *FLAGS]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=ROOT, env=env)


def saving(out):
    """A checkpoint on its way: Orbax writes into a folder whose name tells so, we into `.NAME.tmp`."""
    return any(out.glob("checkpoints/partial_*/*orbax-checkpoint-tmp*")) or any(out.glob("checkpoints/.seed_*.tmp"))


def killed_when(process, condition):
    """False if it ended before the condition came true."""
    while process.poll() is None:
        if condition():
            process.kill()
            process.communicate()  # which also closes the pipe
            return True
        time.sleep(0.002)
    _, err = process.communicate()
    assert process.returncode == 0, err
    return False


def finish(store, out, cache):
    process = begin(store, out, cache)
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err


def summary(out):
    found = json.loads((out / "summary.json").read_text())
    del found["minutes"]
    return found


@pytest.mark.slow
def test_killed_ten_times_and_resumed_equals_uninterrupted(store, tmp_path):
    whole, started = tmp_path / "whole", time.monotonic()
    finish(store, whole, tmp_path / "cache of whole")
    duration = time.monotonic() - started
    moments, random_kills, saving_kills, run = random.Random(0), 0, 0, 0
    while random_kills + saving_kills < KILLS:
        run += 1
        out, cache = tmp_path / f"run {run}", tmp_path / f"cache of run {run}"
        for kill in range(4):
            process, end = begin(store, out, cache), time.monotonic() + moments.uniform(0, duration)
            if kill % 2:
                saving_kills += killed_when(process, lambda folder=out: saving(folder))
            else:
                random_kills += killed_when(process, lambda moment=end: time.monotonic() > moment)
            if process.returncode == 0 or (out / "summary.json").is_file():  # killed when all was written
                break
        if not (out / "summary.json").is_file():
            finish(store, out, cache)
        for name in SAME:
            assert (out / name).read_bytes() == (whole / name).read_bytes(), f"{out}: {name}"
        assert summary(out) == summary(whole)
        assert not list((out / "checkpoints").glob("*partial*"))
    assert saving_kills >= 3
    assert random_kills >= 3


@pytest.mark.slow
def test_two_processes_write_one_run(store, tmp_path):
    finish(store, tmp_path / "one", tmp_path / "cache")
    address = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    out = tmp_path / "two"
    both = [begin(store, out, tmp_path / "cache", **address, JAX_PROCESS_ID=str(i)) for i in range(2)]
    for process in both:
        _, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
    # Sums over a batch in another order, float32; the files are otherwise the same.
    for name in ("results.csv", "history.csv", "predictions.csv"):
        one, two = (
            pd.read_csv(tmp_path / run / name).drop(columns="params_sha256", errors="ignore") for run in ("one", "two")
        )
        pd.testing.assert_frame_equal(one, two, rtol=1e-3, atol=1e-4)
