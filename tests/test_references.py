"""Names in backticks that point into the library, `module.name` or `cxrjax.package.module`, exist."""

import re

import pytest

from tests.conftest import ROOT

FILES = [path for path in (ROOT / "cxrjax").rglob("*.py") if path.stem != "__init__"]
PACKAGES = {path.parent.name: path for path in (ROOT / "cxrjax").rglob("__init__.py")}
SOURCES = [path for folder in ("cxrjax", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]
# Modules that there were once, whose names a docstring may still hold.
GONE = re.compile(
    r"(alexnet\.max_pool|types\.(?!GenericAlias)\w+|augment\.CENTRE|(runner|trainer|train|network|windows|cam|evaluate|"
    r"sums|roofline|progress|seed_groups|numerals|rundir|statistics|performance|card_rows|report_rows|report_view)\.\w+)"
)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_references_exist(source):
    text = source.read_text()
    assert not [name for name in re.findall(r"`([\w.]+)`", text) if GONE.fullmatch(name)]
    for name in re.findall(r"`cxrjax\.([\w.]+)`", text):
        parts = [part for part in name.split(".") if part not in PACKAGES]
        assert not parts or _names(parts), f"cxrjax.{name}"
    for module, name in re.findall(r"`(\w+)\.(\w+)`", text):
        if any(path.stem == module for path in FILES) and name not in ("csv", "png", "json", "jsonl", "bin", "py"):
            assert _names([module, name]), f"{module}.{name}"


def _names(parts: list[str]) -> bool:
    """Whether there is such a module, and one of that name holds the further name or lies beside a file of it."""
    modules = [path for path in FILES if path.stem == parts[0]]
    if not modules:
        return any(re.search(rf"\b{parts[0]}\b", init.read_text()) for init in PACKAGES.values())
    return len(parts) == 1 or any(
        (path.parent / f"{parts[1]}.py").is_file() or re.search(rf"\b{parts[1]}\b", path.read_text())
        for path in modules
    )
