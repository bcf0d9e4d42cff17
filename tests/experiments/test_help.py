"""What --help shows: headings, defaults, and lines that a terminal holds."""

import dataclasses
import re

import pytest

from cxrjax.base.flags import GROUPS, NETWORK, flag, flags_of, groups_of
from experiments import __main__ as command
from experiments import _help, chexnet, readings, train


@dataclasses.dataclass(frozen=True)
class Config:
    zero: int = flag(0, "a number")
    nothing: str | None = flag(None, "a name", group=NETWORK)
    fast: bool = flag(True, "quickly", group=NETWORK)
    pace: str = flag("walk", "how", choices=("walk", "run"), group=NETWORK)


def help_of(program, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main([program, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_a_page_by_hand(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    description = """What?

  python -m elsewhere --a-command-that-is-longer-than-any-terminal-is-wide=and-is-copied-whole --so=it
  all   of it

One paragraph of more than eighty columns, which is filled anew; and its lines
are
joined."""
    assert _help.page((Config(),), description).splitlines() == [
        "What?",
        "",
        "  python -m elsewhere --a-command-that-is-longer-than-any-terminal-is-wide=and-is-copied-whole --so=it",
        "  all   of it",
        "",
        "One paragraph of more than eighty columns, which is filled anew; and its lines",
        "are joined.",
        "",
        "This program",
        "  --zero                a number (default: 0)",
        "",
        "Network",
        "  --nothing             a name (default: none)",
        "  --[no]fast            quickly (default: yes)",
        "  --pace                how (of walk, run; default: walk)",
    ]


def test_a_programs_own_flags_come_first_then_the_headings_in_order():
    assert list(groups_of(train.TrainConfig(name="train"))) == ["", *GROUPS[:-1]]
    groups = groups_of(readings.ReadingsConfig())
    own = [field.name for field in groups[""]]
    assert own == ["conv1_seeds", "conv1_epochs", "task", "rows", "reuse"]
    assert [field.name for field in groups[NETWORK]][:2] == ["model", "weights"]


@pytest.mark.parametrize("columns", [40, 80, 97, 300])
@pytest.mark.parametrize("program", ["train", "prepare", "imbalance", "chexnet"])
def test_every_flag_stands_once_and_lines_fit(program, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = help_of(program, capsys)
    widest = min(110, max(80, columns))
    assert [line for line in lines if len(line) > widest and not line.startswith("  python -m ")] == []
    assert max(map(len, lines)) > widest - 8  # and are filled
    names = [match[1] for line in lines if (match := re.match(r"  (?:-\w, )?--(?:\[no\])?(\w+)", line))]
    assert len(names) == len(set(names)) and {"classes", "help"} <= set(names)
    if program == "train":
        assert {field.name for field in flags_of(train.TrainConfig(name="train"))} <= set(names)


def test_the_default_is_what_holds_without_the_flag():
    """Of a program whose recipe sets a flag it is the recipe's."""
    page = " ".join(_help.page((chexnet.CONFIG,), "").split())
    assert re.search(r"--batch_size images per step \(default: 16\)", page)
    assert re.search(r"--augment_bank [^(]*\([^)]*\)[^(]*\([^)]*\)[^(]*\(default: auto\)", page)
