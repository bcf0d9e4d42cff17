"""Sphinx: pages in MyST Markdown; pages of the programs and of the public API are made from the code at each build.

`make docs` builds docs/_build; nothing is fetched, neither to build nor to read.
"""

import contextlib
import io
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import cxrjax  # noqa: E402
from experiments import __main__ as command  # noqa: E402

project = "cxrjax"
release = cxrjax.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "cxrjax"
html_static_path = ["static"]
html_css_files = ["tables.css"]
html_copy_source = False
html_show_sphinx = html_show_copyright = False
myst_heading_anchors = 4
smartquotes = False  # --flag is no dash
default_role = "code"  # docstrings write `name`
highlight_language = "none"  # of tables in docstrings; a block of a page names its own
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
napoleon_use_ivar = True  # attributes that a docstring lists are not described twice
suppress_warnings = ["ref.python"]  # a word of a docstring that is the name of several attributes
OPTIONAL = {"tfds"}  # cannot be imported without TensorFlow Datasets


def public_modules(package: str) -> list[str]:
    """Modules that the docstring of a package calls public; where it says that all are, all."""
    text = getattr(cxrjax, package).__doc__ or ""
    named = re.findall(r"`(\w+)`", text.partition("Public: ")[2].partition("Internal: ")[0])
    there = sorted(path.stem for path in (DOCS.parent / "cxrjax" / package).glob("[!_.]*"))
    return [name for name in dict.fromkeys(named) if name in there and name not in OPTIONAL] or there


def api_pages() -> dict[str, str]:
    """Package -> a page in reStructuredText of what is public in it."""
    pages = {}
    for package in (name for name in cxrjax.__all__ if hasattr(getattr(cxrjax, name), "__path__")):
        parts = [heading(f"cxrjax.{package}", "="), f".. automodule:: cxrjax.{package}\n"]
        for module in public_modules(package):
            parts += [heading(f"{package}.{module}", "-"), f".. automodule:: cxrjax.{package}.{module}\n"]
        pages[package] = "\n".join(parts)
    return pages


def heading(text: str, line: str) -> str:
    """A heading in reStructuredText."""
    return f"{text}\n{line * len(text)}\n"


def help_of(name: str) -> str:
    """What `cxrjax NAME --help` prints."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        command.main([name, "--help"])
    return shown.getvalue()


FLAG = re.compile(r"^  (?:-\w, )?--(?:\[no\])?(\w+):? +(.*)")


def program_page(name: str) -> str:
    """A program's --help in reStructuredText: its header, then each flag, which a page may link to."""
    lines = help_of(name).splitlines()
    first = next(i for i, line in enumerate(lines) if FLAG.match(line))
    first -= bool(lines[first - 1])  # the heading of the first flags
    parts = [heading(name, "="), f".. program:: {name}\n"]
    for block in "\n".join(lines[:first]).strip("\n").split("\n\n"):
        as_it_is = any(re.match(r" |- |\w.*  +\w", line) for line in block.splitlines())
        parts.append("::\n\n" + indented(block) if as_it_is else escaped(" ".join(block.split())))
    for line in lines[first:]:
        if flag := FLAG.match(line):
            parts += [f".. option:: --{flag[1]}", f"   {escaped(flag[2])}"]
        elif line.startswith("   "):
            parts[-1] += f" {escaped(line.strip())}"
        elif line:
            parts.append(heading(line.strip(" :"), "-"))
    return "\n\n".join(parts) + "\n"


def indented(text: str) -> str:
    """Text as a block of its own in reStructuredText."""
    return "\n".join(f"   {line}" for line in text.splitlines())


def escaped(text: str) -> str:
    """Text of which no sign means anything to reStructuredText; flags and what stands in backticks are code."""
    parts = re.split(r"`([^`]+)`|(?<![\w-])(--\w+(?:=[\w.,-]*\w)?)(?![\w=])", text)
    return "".join(
        f"``{part}``" if place % 3 else re.sub(r"([\\*`|_<>])", r"\\\1", part)
        for place, part in enumerate(parts)
        if part
    )


def write_pages(_app: object) -> None:
    """Writes the pages that are made from the code; Sphinx reads them as others."""
    made = {f"api/{name}": text for name, text in api_pages().items()}
    made |= {f"programs/{name}": program_page(name) for name in command.questions()}
    for name, text in made.items():
        path = DOCS / "reference" / f"{name}.rst"
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def as_written(_app: object, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Docstrings are plain text but for `names`: signs of reStructuredText mean nothing, indented blocks stay."""
    made: list[str] = []
    for line in lines:
        indented = what == "module" and line.startswith("  ")
        if indented and not made[-1]:
            made += ["::", ""]
        parts = line.split("`")
        escape = not indented and not line.lstrip().startswith(">>>")
        parts[::2] = [re.sub(r"([*|])", r"\\\1", part) if escape else part for part in parts[::2]]
        made.append("`".join(parts))
    lines[:] = made


def without_words(_app: object, _what: str, _name: str, member: Any, _skip: bool, _options: object) -> bool | None:
    """Leaves out a field of a named tuple that says nothing of itself: its signature has it."""
    return True if str(member.__doc__).startswith("Alias for field number") else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", as_written, priority=100)  # before Napoleon
    app.connect("autodoc-skip-member", without_words)
