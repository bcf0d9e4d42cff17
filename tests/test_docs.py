"""docs/statistics.md says what the code says, and the README's example of an evaluation runs."""

import re

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import subgroups
from cxrjax.base import tasks
from cxrjax.metrics import bootstrap, registry
from cxrjax.models import registry as models
from cxrjax.report import sections
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_every_metric_is_explained():
    assert set(registry.METRICS) <= set(re.findall(r"`(\w+)`", PAGE))


def test_modules_that_it_names_are_there():
    named = set(re.findall(r"`(\w+\.py)`", PAGE))
    named |= {f"{name}.py" for name in re.findall(r"`(\w+)\.(?!csv`)\w+`", PAGE)}  # a table is no module
    there = {path.name for folder in ("cxrjax", "experiments") for path in (ROOT / folder).rglob("*.py")}
    assert named and named <= there


def test_measured_coverage_and_limits_are_those_of_the_code():
    measured = re.findall(r"^ +(0\.\d\d) +(\d+) +(0\.\d\d) +(.*)$", bootstrap.__doc__ or "", re.MULTILINE)
    rows = [re.findall(r"[\d.]+", line) for line in PAGE.splitlines() if re.match(r"\| 0\.\d\d \|", line)]
    assert (
        rows == [[auroc, patients, share, *rest.split()] for auroc, patients, share, rest in measured]
        and len(rows) == 3
    )
    others = {name for name, metric in registry.METRICS.items() if metric.interval != "bca"}
    assert others == {"auroc", "calibration_slope", "calibration_intercept", "ece"}
    told = " ".join(PAGE.split())
    assert f"{bootstrap.DRAWS:,} times" in told
    assert f"fewer than {subgroups.MIN_PATIENTS} patients, or fewer than {subgroups.MIN_OF_A_CLASS} images" in told


def test_the_readmes_evaluation_runs(small_run, capsys):
    """As it stands, on another run's folder and seed."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "bootstrap.intervals" in block]
    code = code.replace("runs/p_vs_nf", str(small_run)).replace('scores["seed"] == 0', 'scores["seed"] == 3')
    known: dict = {}
    exec(compile(code, "README.md", "exec"), known)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4
    own = pd.read_csv(small_run / "results.csv").set_index("seed").loc[3]
    for name in registry.METRICS:
        assert float(known["metrics"][name]) == pytest.approx(own[name], rel=2e-3, nan_ok=True), name  # steep slopes


@pytest.mark.slow
def test_the_readmes_dreams_run(small_run, small_phantom):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "saliency.METHODS" in block]
    known: dict = {"images": small_phantom.images}
    code = code.replace("runs/p_vs_nf", str(small_run)).replace("run.head(0)", "run.head(3)")
    code = code.replace('"conv5", 58', '"conv5", 5')  # the narrow network has 16
    exec(compile(code, "README.md", "exec"), known)
    assert known["dreams"].image.shape == (1, 445, 445)
    assert known["dreams"].scores.shape == (1, 31)
    assert known["maps"].shape == (8, 227, 227)


def test_the_examples_of_contributing_register_what_they_say(monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.setattr(models, "_MODELS", dict(models._MODELS))
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))
    monkeypatch.setattr(registry, "METRICS", dict(registry.METRICS))
    monkeypatch.setattr(sections, "SECTIONS", list(sections.SECTIONS))
    for block in blocks:
        exec(compile(block, "CONTRIBUTING.md", "exec"), {})
    assert models.get("alexnet-half").width("fc6") == 2048
    assert tasks.get("effusion_vs_nf").positive.holds("Effusion|Mass")
    assert float(registry.METRICS["mean_score"].function(*map(np.array, ([0, 1, 1], [0.9, 0.2, 0.4], [1, 1, 1])))) == (
        pytest.approx(0.3)
    )
    keys = [section.key for section in sections.SECTIONS]
    assert keys.index("seeds") == keys.index("flow") + 1


def test_paths_that_pages_name_are_there():
    """Files and folders in the README and CONTRIBUTING, if they begin like some of ours."""
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        paths = re.findall(r"(?:`|\]\()((?:cxrjax|docs|tests|experiments|\.ci|\.github)/[\w./-]*\w/?)[`)]", text)
        assert paths, name
        assert not [path for path in paths if not (ROOT / path).exists()], name


@pytest.mark.parametrize("line", re.findall(r"^\| \*\*.*$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE))
def test_a_word_of_the_glossary_lives_where_it_says(line):
    word, place = re.match(r"\| \*\*(\w+)\*\*.*`([\w/.]+)` \|$", line).groups()
    assert re.search(rf"\b{word}s?\b", (ROOT / "cxrjax" / place).read_text(encoding="utf-8").lower())


def test_tests_that_the_table_of_inputs_names_are_there():
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`(?:([a-z/]+)/)?(test_\w+\.py)(?:::(test_\w+))?", text)
    assert len(named) > 20
    for folder, file, test in named:
        files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob(f"**/{folder}/{file}")]
        assert files, f"{folder}/{file}"
        assert not test or any(f"def {test}(" in content for content in files), f"{file}::{test}"
