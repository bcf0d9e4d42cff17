"""The CHANGELOG's maps of names: each old public name has a place or is said to be gone; old code runs by them."""

import ast
import contextlib
import dataclasses
import importlib
import re
from types import ModuleType

import numpy as np
import pytest

import cxrjax
from tests.conftest import ROOT

GONE = "–"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
OLD_NAMES = (ROOT / "tests" / "old_names.txt").read_text().split()  # all that were public at commit ddc53f1
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "tests" / "old_snippets.md").read_text(), re.DOTALL)


def table(heading):
    """The rows of the CHANGELOG's table under a line of heads: old -> new."""
    text = CHANGELOG[CHANGELOG.index(heading) :]
    rows = text[: text.index("\n\n")].splitlines()[2:]
    return dict(tuple(cell.strip().strip("`") for cell in row.strip("|").split("|")) for row in rows)


NAMES = table("| old | new |")
CALLS = table("| old call | new call |")


def new_name(old):
    """The new name of an old one: its row, or its module's row with the rest behind it."""
    parts = old.split(".")
    for count in range(len(parts), 0, -1):
        prefix = ".".join(parts[:count])
        if prefix in NAMES:
            return NAMES[prefix] if GONE in NAMES[prefix] else ".".join([NAMES[prefix], *parts[count:]])
    return old


def resolve(name):
    """What a dotted name stands for; a field of a record counts as an attribute of its class.

    Raises:
      AttributeError: if it stands for nothing.
    """
    value = cxrjax
    for part in name.split(".")[1:]:
        if isinstance(value, type) and dataclasses.is_dataclass(value) and part in value.__dataclass_fields__:
            return part
        if isinstance(value, ModuleType) and not hasattr(value, part):  # a module that its package imports on use
            with contextlib.suppress(ModuleNotFoundError):
                importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return value


def is_there(name):
    try:
        resolve(name)
    except AttributeError:
        return False
    return True


def needs_tfds(name):
    return name.startswith(("cxrjax.data.tfds", "cxrjax.datasets.nih_"))


def test_every_new_name_can_be_imported():
    missing = {old: new for old, new in NAMES.items() if new != GONE and not needs_tfds(new) and not is_there(new)}
    assert not missing
    assert len(NAMES) > 100


def test_every_old_public_name_has_a_place_or_is_said_to_be_gone():
    places = {old: new_name(old) for old in OLD_NAMES if not needs_tfds(old)}
    assert not {old: new for old, new in places.items() if new != GONE and not is_there(new)}
    assert len(places) > 900


@pytest.mark.tfds
def test_names_of_the_tfds_builder():
    names = [new_name(old) for old in OLD_NAMES if needs_tfds(old)]
    assert all(is_there(name) for name in names if name != GONE)


class Renamed(ast.NodeTransformer):
    """Old code under the new names: one `import cxrjax`, and every name of it in full."""

    def __init__(self, tree):
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "cxrjax"]
        self.old = {alias.asname or alias.name: f"cxrjax.{alias.name}" for node in imports for alias in node.names}

    def visit_ImportFrom(self, node):
        return ast.parse("import cxrjax").body if node.module == "cxrjax" else node

    def visit_Attribute(self, node):
        parts, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            parts.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in self.old:
            return ast.parse(new_name(".".join([self.old[inner.id], *parts])), mode="eval").body
        return self.generic_visit(node)

    def visit_Name(self, node):
        return ast.parse(new_name(self.old[node.id]), mode="eval").body if node.id in self.old else node


def run(word, values, texts):
    """Runs the one old snippet that has a word in it, by the maps; gives its names."""
    (code,) = [snippet for snippet in SNIPPETS if word in snippet]
    for old, new in CALLS.items():
        code = code.replace(old, new)
    for old, new in texts.items():
        assert old in code
        code = code.replace(old, new)
    tree = ast.parse(code)
    exec(compile(ast.fix_missing_locations(Renamed(tree).visit(tree)), "old_snippets.md", "exec"), values)
    return values


def test_every_call_of_the_map_is_in_an_old_snippet():
    assert all(any(call in snippet for snippet in SNIPPETS) for call in CALLS)


def test_a_trained_run(small_run, small_phantom):
    values = run("scores = run(images)", {"images": small_phantom.images[:3]}, texts={"runs/p_vs_nf": str(small_run)})
    assert values["scores"].shape == (3, 2)


def test_a_plan_and_its_batches(small_store):
    values = run("steps_per_epoch", {}, texts={"a-prepared-store": str(small_store)})
    assert values["pixels"].shape == (64, 227, 227)
    assert values["who"].label.sum() > 5


def test_an_evaluation(small_run, capsys):
    texts = {"runs/p_vs_nf": str(small_run), 'scores["seed"] == 0': 'scores["seed"] == 3'}
    values = run("bootstrap.intervals", {}, texts=texts)
    assert len(values["figures"]) >= 18 and 0 <= values["figures"]["accuracy"] <= 1
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.slow
def test_dreams_and_maps(small_run, small_phantom):
    texts = {"runs/p_vs_nf": str(small_run), "run.head(0)": "run.head(3)", '"conv5", 58': '"conv5", 5'}
    values = run("saliency.METHODS", {"images": small_phantom.images}, texts=texts)
    assert values["dreams"].image.shape == (1, 445, 445)
    assert np.isfinite(values["maps"]).all() and values["maps"].shape == (8, 227, 227)
