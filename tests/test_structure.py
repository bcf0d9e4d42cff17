"""The house as drawn: imports point downwards, TensorFlow stays in its room, command lines answer at once."""

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# From the ground up; a module may import what stands before it.
ORDER = [
    "types",
    "files",
    "reporting.language",
    "reporting.numerals",
    "progress",
    "weight_files",
    "convert",
    "checkpoint",
    "store",
    "datasets.budget",
    "datasets.isolated",
    "datasets.dicom",
    "datasets.decode",
    "datasets.lung_fields",
    "datasets.plausible",
    "datasets.archive",
    "datasets.source",
    "datasets.nih",
    "datasets.nih_examples",
    "datasets.nih_beam",
    "datasets.nih_tfds",
    "datasets.folder",
    "datasets.listing",
    "datasets.ledger",
    "datasets.reading",
    "datasets.prepare",
    "datasets.anatomy",
    "datasets.chest",
    "datasets.findings",
    "datasets.phantom",
    "datasets.load",
    "cohort",
    "analysis.flow",
    "groupings",
    "reporting.page",
    "reporting.markdown",
    "contact_sheet",
    "describe",
    "windows",
    "alexnet",
    "augment",
    "roofline",
    "metrics",
    "discrimination",
    "calibration",
    "performance",
    "plan",
    "activation_cache",
    "bank",
    "devices",
    "pipeline",
    "train",
    "network",
    "objectives",
    "dream",
    "dream_fourier",
    "cam",
    "saliency",
    "evaluate",
    "statistics",
    "delong",
    "bootstrap",
    "analysis.seed_figures",
    "analysis.run_figures",
    "analysis.floors",
    "analysis.leakage",
    "analysis.subgroups",
    "analysis.operating",
    "analysis.reliability",
    "analysis.errors",
    "analysis.patient_means",
    "analysis.localisation",
    "analysis.similarity",
    "analysis.looks",
    "analysis.focus",
    "analysis.agreement",
    "analysis.analyse",
    "analysis.run_files",
    "inputs",
    "trainer",
    "sweeps.cost",
    "tables",
    "summary",
    "rundir",
    "arms",
    "analysis.comparison",
    "sweeps.finished",
    "seed_groups",
    "scoring",
    "trained",
    "inspection.record",
    "inspection.sheets",
    "inspection.dreaming",
    "inspection.dream_pages",
    "reporting.figures.overlay",
    "inspection.watched",
    "inspection.looking",
    "inspection.map_pages",
    "predict",
    "reporting.figures.style",
    "reporting.figures.runs",
    "reporting.figures.curves",
    "reporting.figures.scores",
    "reporting.figures.forest",
    "reporting.figures.flow",
    "reporting.figures.drawing",
    "reporting.verdict",
    "reporting.report_rows",
    "reporting.report_view",
    "reporting.report_dreams",
    "reporting.report_looks",
    "reporting.card_rows",
    "reporting.cards",
    "reporting.report",
    "results",
    "runner",
    "sweeps.sweep",
    "sweeps.sweep_tables",
    "sweeps.readings",
    "sweeps.sample_size",
]
FILES = sorted((ROOT / "cxrjax").rglob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(ROOT / "cxrjax").with_suffix("").parts)


def imports(path):
    """Every imported module of a file, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(imported):
    """cxrjax.datasets.load.load -> datasets.load; None for what is not ours."""
    parts = imported.split(".")
    if parts[0] != "cxrjax":
        return None
    return next((name for k in (4, 3, 2) if (name := ".".join(parts[1:k])) in ORDER), None)


def test_every_module_has_its_place():
    assert {name_of(path) for path in FILES if path.name != "__init__.py"} == set(ORDER)


@pytest.mark.parametrize("path", [p for p in FILES if p.name != "__init__.py"], ids=name_of)
def test_imports_point_downwards(path):
    own = ORDER.index(name_of(path))
    above = [m for i in imports(path) if (m := module_of(i)) and ORDER.index(m) >= own]
    assert not above


def test_experiments_are_not_imported_by_the_library():
    assert not [i for path in FILES for i in imports(path) if i.startswith(("experiments", "weights", "tests"))]


def test_only_the_pipeline_and_the_tfds_builder_import_tensorflow():
    found = {name_of(p) for p in FILES if any(i.startswith("tensorflow") for i in imports(p))}
    assert found == {"pipeline", "datasets.nih_tfds"}


def test_only_checkpoint_imports_orbax():
    assert {name_of(p) for p in FILES if any(i.startswith("orbax") for i in imports(p))} == {"checkpoint"}


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
        "from cxrjax import alexnet, augment, dream\n"
        "assert cxrjax.cohort.POSTER_POSITIVES == 593\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
