"""A disk that fails at each kind of file: one line, status 2, and the same command then ends with the same bytes.

`no_room.c` is preloaded into `faulty_programs.py`; Orbax writes from C++, and root's writing no permission stops.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from cxrjax.storage import checkpoint
from tests.conftest import ROOT
from tests.runs.faulty_programs import PROGRAMS

TIMES = {"checkpoints", "params", "programs", "matplotlib"}  # folders of files with times and drawn names inside


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of all that was written; `outcomes.jsonl` in it has a line a call."""
    compiler = shutil.which("cc")
    if not compiler or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler (cc) and Linux for the faults that are preloaded")
    root = tmp_path_factory.mktemp("disk")
    library = root / "no_room.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, ROOT / "tests/runs/no_room.c", "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.runs.faulty_programs", str(root)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (root / "outcomes.jsonl").write_text(done.stdout, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def outcomes(root):
    return [json.loads(line) for line in (root / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("program", [row[0] for row in PROGRAMS])
def test_each_file_that_cannot_be_written_is_one_line(outcomes, program):
    faults = {(at, code) for name, _, _, faults in PROGRAMS if name == program for at, code in faults}
    failed = [outcome for outcome in outcomes if outcome["program"] == program and outcome["at"]]
    assert {(outcome["at"], outcome["code"]) for outcome in failed} == faults
    for outcome in failed:
        line = outcome["error"].splitlines()[-1]
        assert outcome["status"] == 2 and line.startswith("error: "), outcome
        assert os.strerror(outcome["code"]) in line or "no room left on the disk of /" in line or "the disk, or" in line
        assert "Traceback" not in outcome["error"] and "Exception ignored" not in outcome["error"]


@pytest.mark.slow
def test_the_same_commands_then_end_with_the_same_bytes(root, outcomes):
    assert all(outcome["status"] == 0 for outcome in outcomes if not outcome["at"]), outcomes
    whole, faulty = (files(root / name) for name in ("whole", "faulty"))
    assert whole.keys() == faulty.keys() and len(whole) > 60
    assert [name for name in whole if whole[name] != faulty[name]] == []
    trees = [path.parent.relative_to(root / "whole") for path in (root / "whole").rglob("_METADATA")]
    assert len(trees) == 3
    for tree in trees:
        of_both = [checkpoint.digest(checkpoint.load_tree(root / name / tree)) for name in ("whole", "faulty")]
        assert of_both[0] == of_both[1], tree


def files(folder):
    """Name -> what is in it, of all but folders whose files hold times."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {str(path.relative_to(folder)): path for path in paths}
    return {name: path.read_bytes() for name, path in named.items() if not TIMES & set(path.parts)}
