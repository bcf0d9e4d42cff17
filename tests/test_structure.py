"""The house as drawn: packages alone, no loose modules; command lines answer at once. Imports: `lint-imports`."""

import ast
import re
import shutil
import subprocess
import sys

import pytest

import cxrjax
from tests.conftest import ROOT


def test_the_library_holds_packages_alone():
    loose = {path.name for path in (ROOT / "cxrjax").iterdir() if path.is_file()}
    assert loose == {"__init__.py", "py.typed"}


_HEAVY = (
    "jax",
    "orbax",
    "flax",
    "optax",
    "numpy",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "PIL",
    "jinja2",
    "tensorflow",
)
# Of each program some of its flags, or words that its help must have.
_HELP = {
    "benchmark_dream": ("--compare", "--octaves"),
    "benchmark_networks": ("--models", "--compare", "torchvision==0.28.0"),
    "benchmark_prepare": ("--source", "--workers"),
    "benchmark_step": ("--augment_bank", "--retrain_from", "--model"),
    "chestxray14": ("--seeds", "0.841"),
    "chexnet": ("--test", "--recipe", "0.841"),
    "compare": ("--out", "--html"),
    "compile_for": ("--device", "--compiler", "not measured"),
    "convert_weights": ("--source", "--file", "--out", "--sha256", "--overwrite"),
    "deep_dream": ("--run", "--octaves", "--fourier_iterations"),
    "describe": ("--data_dir", "--out", "--seed", "--max_bad", "replaced"),
    "doctor": ("--clear_cache", "--weights_dir"),
    "ensemble": ("--runs", "--out", "log odds"),
    "evaluate": ("--predictions", "--positive", "--logits"),
    "export": ("--run", "--overwrite", "safetensors"),
    "imbalance": ("--ratios", "--rows", "undersampling"),
    "lakhani": ("--weights_dir", "--test", "which hospital"),
    "networks": ("--weights_dir", "--sizes", "--head"),
    "p_vs_nf": ("--augment_bank", "--retrain_from"),
    "p_vs_np": ("--augment_bank", "--retrain_from"),
    "predict": ("--run", "--accept_anything", "not a medical device"),
    "prepare": ("--source", "--patient_regex", "--crop"),
    "readings": ("--task", "--reuse", "no_flip"),
    "recalibrate": ("--run", "--labels", "--n", "CLASS_FOLDERS"),
    "report": ("--run", "--lang", "--wanted_sensitivity"),
    "sample_size": ("--sizes", "--fix", "--reuse"),
    "train": ("--positive", "--negative", "--task", "chestxray14"),
    "train_lungs": ("--masks", "--folds", "sources.csv"),
    "where_it_looks": ("--run", "--methods", "--boxed"),
}


def test_help_needs_no_heavy_import():
    """--help of every program exits 0, lists the flags and imports nothing that takes its time; in one process."""
    code = (
        "import sys\n"
        "from experiments import __main__ as command\n"
        "command.main(['--help'])\n"
        "for name in command.questions():\n"
        "    print(f'help of {name}')\n"
        "    try: command.main([name, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0, name\n"
        f"    heavy = set({_HEAVY}) & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    _, *texts = done.stdout.split("help of ")
    shown = {text.partition("\n")[0]: text for text in texts}
    assert shown.keys() == _HELP.keys()
    for name, words in _HELP.items():
        assert all(word in shown[name] for word in words), name


def test_import_is_lazy_and_finds_every_module():
    code = (
        "import sys, cxrjax\n"
        "assert not {'jax', 'numpy', 'tensorflow'} & set(sys.modules)\n"
        "assert cxrjax.metrics.delong.__name__ == 'cxrjax.metrics.delong'\n"
        "from cxrjax.models import alexnet\n"
        "assert cxrjax.data.cohort.split and cxrjax.models.alexnet is alexnet\n"
        "assert not hasattr(cxrjax.data, 'no_such') and not hasattr(cxrjax, 'alexnet')\n"
        "assert cxrjax.load_run and issubclass(cxrjax.InputError, ValueError)\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there():
    assert all(hasattr(cxrjax, name) for name in cxrjax.__all__)
    packages = {path.name for path in (ROOT / "cxrjax").iterdir() if (path / "__init__.py").is_file()}
    assert packages <= set(cxrjax.__all__)
    for name in packages:
        package = getattr(cxrjax, name)
        for path in (ROOT / "cxrjax" / name).glob("[!_]*.py"):
            assert getattr(package, path.stem).__doc__, f"{name}.{path.stem}"


def test_a_package_says_what_is_public_and_that_is_there():
    for name in ("analysis", "base", "data", "interpret", "metrics", "models", "report", "runs", "storage"):
        package = getattr(cxrjax, name)
        _, _, text = (package.__doc__ or "").partition("Public: ")
        modules = set(re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", text)))
        there = {path.stem for path in (ROOT / "cxrjax" / name).iterdir() if path.suffix == ".py" or path.is_dir()}
        there = {module for module in there if not module.startswith("_")} - {"templates"}
        assert modules == there, name


def test_modules_are_imported_on_any_system():
    """fcntl and resource are POSIX's: what needs them imports them where it does."""
    posix = {"fcntl", "resource"}
    for path in [*(ROOT / "cxrjax").rglob("*.py"), *(ROOT / "experiments").glob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
            assert not names & posix, path.relative_to(ROOT)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_clean_keeps_what_took_hours():
    def removed(target):
        commands = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {word.rstrip("/*") for word in commands.split()}

    assert ".venv" in removed("clean") and not {"runs", "weights"} & removed("clean")
    assert {"runs", "weights"} <= removed("distclean")
