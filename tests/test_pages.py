"""Every block of README, CONTRIBUTING and docs/ is run on the phantom, or its first line says what it needs.

A block is ```sh (commands), ```python, or ```text, which is none of both. A first line `# needs ...` names data, or a
machine, that a test does not have. Flags are checked of all commands, those within sentences and tables too.
"""

import re
import shlex
import shutil
import subprocess
import tomllib
from typing import NamedTuple

import markdown_it
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.base import tasks
from cxrjax.metrics import registry
from cxrjax.models import registry as models
from cxrjax.report import sections
from experiments.__main__ import questions
from tests.conftest import PAGES, ROOT
from tests.experiments.commands import call
from tests.models import narrow

NEEDS = "# needs "
# What a test adds to a command, so that it takes seconds.
_TRAINS = [
    f"--model={narrow.ALEXNET.name}",
    *("--weights=random", "--seeds=2", "--epochs=1", "--batch_size=16", "--small_ok"),
]
_FEW_DREAMS = [
    *("--octaves=1", "--iterations=2", "--fourier_iterations=2"),
    *("--layers=conv2", "--channels=1", "--patients=1"),
]
SMALL = {
    "p_vs_nf": _TRAINS,
    "train": _TRAINS,
    "deep_dream": _FEW_DREAMS,
    "where_it_looks": ["--images=2", "--nodreams"],
}


class Block(NamedTuple):
    """A block of code of a page."""

    page: str
    line: int
    language: str
    text: str

    @property
    def needs(self):
        return self.text.startswith(NEEDS)


def blocks(page):
    tokens = markdown_it.MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8"))
    code = [token for token in tokens if token.type in ("fence", "code_block")]
    return [Block(str(page), token.map[0], token.info, token.content) for token in code]


BLOCKS = [block for page in PAGES for block in blocks(page)]


def pages_with(language, slow=()):
    """Pages that have such blocks which a test runs, those that take long marked."""
    names = dict.fromkeys(block.page for block in BLOCKS if block.language == language and not block.needs)
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in names]


def runnable(page, language):
    return [block for block in BLOCKS if (block.page, block.language, block.needs) == (page, language, False)]


def test_every_block_says_what_it_is():
    of_sphinx = ("{toctree}", "{include}")
    others = [block[:3] for block in BLOCKS if not block.language.startswith(("sh", "python", "text", *of_sphinx))]
    assert not others
    assert sum(block.language in ("sh", "python") and not block.needs for block in BLOCKS) > 20


@pytest.fixture(scope="module")
def flags_of():
    """Program -> its flags, from its --help."""
    with pytest.MonkeyPatch.context() as patch:
        shown = {}
        for name in questions():
            lines = []
            patch.setattr("builtins.print", lambda *words, lines=lines, **_: lines.append(" ".join(map(str, words))))
            assert call(name, "--help") == 0
            shown[name] = set(re.findall(r"^ *--(?:\[no\])?(\w+)", "\n".join(lines), re.MULTILINE))
    return shown


def unknown(named, flags):
    return {flag for flag in named if not {flag, flag.removeprefix("no")} & (flags | {"help"})}


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_programs_and_flags_of_a_page_are_there(page, flags_of):
    text = (ROOT / page).read_text(encoding="utf-8")
    text = text.replace("python -m weights.convert", "python -m experiments.convert_weights").replace("\\\n", " ")
    every = set().union(*flags_of.values())
    for name, rest in re.findall(r"(?:python -m experiments\.|`cxrjax )([a-z]\w*)([^`\n]*)", text):
        assert name in flags_of, name
        assert not unknown(re.findall(r"--(\w+)", rest), flags_of[name]), name
    alone = re.findall(r"`--(\w+)(?:=[^`]*)?`", text)
    assert not [flag for flag in unknown(alone, every) if not flag.startswith("xla_")]


@pytest.fixture
def desk(request, run_small, small_store, small_phantom, tmp_path, monkeypatch):
    """A folder as pages take it for granted: runs/demo (if they name it), STORE, and IMAGES in class folders."""
    monkeypatch.chdir(tmp_path)
    if "runs/demo" in (ROOT / request.node.callspec.params["page"]).read_text(encoding="utf-8"):
        shutil.copytree(demo(run_small), tmp_path / "runs" / "demo")
    (tmp_path / "STORE").symlink_to(small_store)
    for row, labels in enumerate(small_phantom.table["labels"][:45]):
        kind = "PNEUMONIA" if "Pneumonia" in labels else "NORMAL" if labels == "No Finding" else None
        if kind:
            (tmp_path / "IMAGES" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(small_phantom.images[row]).save(tmp_path / "IMAGES" / kind / f"{row}.png")
    for registered, records in ((models, "_MODELS"), (tasks, "TASKS"), (registry, "METRICS")):
        monkeypatch.setattr(registered, records, dict(getattr(registered, records)))
    monkeypatch.setattr(sections, "SECTIONS", list(sections.SECTIONS))
    return tmp_path


_made = {}


def demo(run_small):
    """A finished run of seeds 0 and 1; not to be changed."""
    if "run" not in _made:
        _made["run"] = run_small(augment_bank=1)
    return _made["run"]


@pytest.mark.parametrize("page", pages_with("python", slow=("docs/how_to/dreams_and_maps.md",)))
def test_python_of_a_page_runs(page, desk, capsys):
    """Its blocks in order, as they stand."""
    names: dict = {}
    for block in runnable(page, "python"):
        exec(compile(block.text, f"{page}:{block.line}", "exec"), names)
    CHECKS.get(page, lambda *_: None)(names, capsys.readouterr().out.splitlines())


def evaluated(names, lines):
    assert len(lines) == 4
    row = pd.read_csv("runs/demo/results.csv").set_index("seed").loc[0]
    for name in registry.METRICS:
        assert float(names["metrics"][name]) == pytest.approx(row[name], rel=2e-3, nan_ok=True), name  # steep slopes


def dreamt(names, _):
    assert names["dreams"].image.shape == (1, 445, 445) and names["dreams"].scores.shape == (1, 31)
    assert names["maps"].shape == (8, 227, 227)


def added_metric(*_):
    score = registry.METRICS["mean_score"].function(*map(np.array, ([0, 1, 1], [0.9, 0.2, 0.4], [1, 1, 1])))
    assert float(score) == pytest.approx(0.3)


def added_section(*_):
    keys = [section.key for section in sections.SECTIONS]
    assert keys.index("seeds") == keys.index("flow") + 1


def added_task(*_):
    assert tasks.get("effusion_vs_nf").positive.holds("Effusion|Mass")


def added_network(*_):
    assert models.get("alexnet-half").width("fc6") == 2048


def scored(names, lines):
    assert names["scores"].shape == names["labels"].shape and len(lines) == 2


CHECKS = {
    "README.md": scored,
    "docs/how_to/evaluate_in_your_code.md": evaluated,
    "docs/how_to/dreams_and_maps.md": dreamt,
    "docs/how_to/add_a_metric.md": added_metric,
    "docs/how_to/add_a_section.md": added_section,
    "docs/how_to/add_a_task.md": added_task,
    "docs/how_to/add_a_network.md": added_network,
}  # page -> what must be so after its Python has run


def commands_of(page):
    lines = "".join(block.text for block in runnable(page, "sh")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("page", pages_with("sh"))
def test_make_and_pip_of_a_page_name_what_there_is(page):
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for line in commands_of(page):
        if line.startswith("make "):
            done = subprocess.run(
                ["make", "-n", *shlex.split(line, comments=True)[1:]], cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        elif line.startswith("pip "):
            named = {extra for group in re.findall(r"\[([\w,-]+)\]", line) for extra in group.split(",")}
            assert named <= extras, line


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("sh"))
def test_commands_of_a_page_run(page, desk, small_store):
    """Its programs in order, each once, on fewer and smaller images, networks and steps (`SMALL`)."""
    done = []
    for line in commands_of(page):
        if line.startswith(("make ", "pip ", ". ", ".venv/bin/p")):
            continue
        words = shlex.split(line.partition(" > ")[0], comments=True)
        if words[:2] == ["python", "-m"]:
            program = "convert_weights" if words[2] == "weights.convert" else words[2].removeprefix("experiments.")
            arguments = words[3:]
        else:
            assert words[0] == "cxrjax", f"a command that no test knows: {line}"
            program, *arguments = words[1:]
        added = SMALL.get(program, [])
        if added is _TRAINS and not any(word.startswith("--data_dir") for word in arguments):
            added = [*added, f"--data_dir={small_store}"]
        if (program, arguments) not in done:
            assert call(program, *arguments, *added) == 0, line
        done.append((program, arguments))
