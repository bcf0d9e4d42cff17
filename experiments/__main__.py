"""The command `cxrjax`: the programs of this folder by name, from any place where the package is installed.

cxrjax --help
cxrjax p_vs_nf --data_dir=NIH_FOLDER --seeds=10
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

from cxrjax.base import InputError, did_you_mean

from . import _cli, _help

FOLDER = Path(__file__).parent


def main(argv: list[str] | None = None) -> None:
    """Runs the program that the first argument names, with the others; without one, or with --help, lists them.

    Args:
      argv: the program's name and its arguments; None: the process's.
    """
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    with _cli.one_line_for_mistakes():
        if name in ("--help", "-h"):
            print(listing())
            return
        if name not in questions():
            near = did_you_mean(name, questions())
            raise InputError(f"no program is called {name!r}{near} (`cxrjax --help` lists them)")
    importlib.import_module(f".{name}", __package__).main(rest)


def questions() -> dict[str, str]:
    """Each program and the first line of its docstring; none is imported."""
    files = sorted(file for file in FOLDER.glob("*.py") if not file.name.startswith("_"))
    docstrings = {file.stem: ast.get_docstring(ast.parse(file.read_bytes())) or "" for file in files}
    return {name: text.partition("\n")[0] for name, text in docstrings.items()}


def listing() -> str:
    """What --help shows."""
    lines = ["cxrjax PROGRAM --flag=value ...; `cxrjax PROGRAM --help` lists the flags of each.", ""]
    for name, question in questions().items():
        lines += _help.columned(name, question, 22, _help.width())
    return "\n".join(lines)


if __name__ == "__main__":
    main()
