"""The house as drawn: packages alone, no loose modules; command lines answer at once. Imports: `lint-imports`."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


def test_the_library_holds_packages_alone():
    loose = {path.name for path in (ROOT / "cxrjax").iterdir() if path.is_file()}
    assert loose == {"__init__.py", "py.typed"}


@pytest.mark.parametrize(
    ("module", "flags"),
    [
        ("p_vs_nf", ("--augment_bank", "--retrain_from")),
        ("p_vs_np", ("--augment_bank", "--retrain_from")),
        ("benchmark_step", ("--augment_bank", "--retrain_from")),
        ("prepare", ("--source", "--patient_regex")),
        ("describe", ("--data_dir", "--max_bad")),
        ("readings", ("--task", "--reuse", "no_flip")),
        ("sample_size", ("--sizes", "--fix", "--reuse")),
        ("compare", ("--out",)),
        ("predict", ("--run", "--accept_anything", "not a medical device")),
        ("report", ("--run", "--lang", "--wanted_sensitivity")),
    ],
)
def test_help_needs_no_heavy_import(module, flags):
    """--help exits 0, lists the experiment's flags and imports neither jax nor pandas nor TensorFlow."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('experiments.{module}', run_name='__main__')\n"
        "except SystemExit as e: assert e.code == 0, e.code\n"
        "heavy = {'jax', 'orbax', 'pandas', 'tensorflow', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert all(flag in done.stdout for flag in flags)


def test_import_is_lazy_and_finds_every_module():
    code = (
        "import sys, cxrjax\n"
        "assert not {'jax', 'numpy', 'tensorflow'} & set(sys.modules)\n"
        "from cxrjax.models import alexnet, augment\n"
        "assert cxrjax.data.cohort.members\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
