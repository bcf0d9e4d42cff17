"""Command lines of the experiments: flags from the fields of `ExperimentConfig`; the only absl.

Flags are parsed before jax, orbax or pandas is imported, so `--help` and mistakes answer at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from absl import flags

from cxrjax.base import InputError
from cxrjax.base.config import ExperimentConfig, in_checkout, run_path

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def main(config: ExperimentConfig, description: str, argv: list[str] | None = None) -> None:
    """Runs an experiment from the command line and exits: 0, or 2 after a mistake of the user's.

    Args:
      config: the experiment with its defaults.
      description: what --help shows above the flags.
      argv: arguments without the program's name; None: the process's.
    """
    with one_line_for_mistakes("; the same command continues"):
        parsed = parse(config, description, argv)
        log_to_stderr()
        from cxrjax.base import devices
        from cxrjax.data.load import cache_dir
        from cxrjax.runs import experiment
        from cxrjax.runs.results import last_line

        devices.start(cache_dir() / "programs")
        results = experiment.run(parsed)
        if devices.is_first():
            print(f"report: {run_path(parsed) / 'report.html'}")
            print(last_line(results.summary))


@contextlib.contextmanager
def one_line_for_mistakes(after_interrupt: str = "") -> Iterator[None]:
    """Turns an InputError into one line on standard error and exit status 2, Ctrl-C into one line and 130."""
    try:
        yield
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"interrupted{after_interrupt}", file=sys.stderr)
        sys.exit(130)


def parse(config: Config, description: str, argv: list[str] | None = None, arguments: str = "") -> Config:
    """Applies flags to a frozen dataclass; its fields made by `config.flag` are the flags. --help prints, exits 0.

    Args:
      config: with its defaults.
      description: what --help shows above the flags.
      argv: arguments without the program's name; None: the process's.
      arguments: field that takes the arguments that are no flags, wherever they stand, as a tuple; after `--` all are
        such. "": there must be none.

    Raises:
      InputError: for an unknown flag, a bad value or a stray argument.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(bool(arguments))
    names = []
    inherited = {name for base in type(config).__mro__[1:] for name in vars(base).get("__annotations__", ())}
    for field in sorted(dataclasses.fields(config), key=lambda field: field.name in inherited):  # a program's own first
        if "help" in field.metadata:
            _define(values, field.name, getattr(config, field.name), dict(field.metadata))
            names.append(field.name)
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    try:
        rest = values(["flags", *(sys.argv[1:] if argv is None else argv)])[1:]
    except flags.Error as error:
        raise InputError(f"{error} (--help lists the flags)") from error
    if values.help:
        print(f"{_as_started_here(description.strip())}\n")
        for name in names:
            text = _as_started_here(f"--{name}: {values[name].help} (default: {values[name].default})")
            print(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="      "))
        sys.exit(0)
    if rest and not arguments:
        raise InputError(f"unexpected argument {rest[0]!r}; values are given as --flag=value")
    given: dict[str, Any] = {name: values[name].value for name in names}
    if arguments:
        given[arguments] = tuple(rest)
    return dataclasses.replace(config, **given)


def _as_started_here(text: str) -> str:
    """A text that names programs by their module, as in a checkout, with the command that works where the user is."""
    if in_checkout():
        return text
    text = text.replace("weights.convert", "experiments.convert_weights")
    return re.sub(r"(?:python -m )?experiments\.(\w+)", r"cxrjax \1", text)


def _define(values: flags.FlagValues, name: str, default: Any, rules: dict[str, Any]) -> None:
    text = rules["help"]
    if "choices" in rules:
        flags.DEFINE_enum(name, default, list(rules["choices"]), text, flag_values=values)
    elif isinstance(default, bool):
        flags.DEFINE_boolean(name, default, text, flag_values=values)
    elif isinstance(default, int):
        flags.DEFINE_integer(name, default, text, rules.get("lower"), rules.get("upper"), flag_values=values)
    elif isinstance(default, float) or rules.get("kind") is float:
        flags.DEFINE_float(name, default, text, rules.get("lower"), rules.get("upper"), flag_values=values)
    else:
        flags.DEFINE_string(name, default, text, flag_values=values)


def log_to_stderr() -> None:
    """Progress of this package on standard error, plain lines with the time of day."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("cxrjax")
    logger.handlers = [handler]  # not one more at each call
    logger.setLevel(logging.INFO)
    logger.propagate = False  # absl puts a handler of its own on the root logger
