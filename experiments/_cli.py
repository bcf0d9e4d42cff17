"""Command lines of the experiments: flags from the fields of `ExperimentConfig`; the only absl.

Flags are parsed before jax, orbax or pandas is imported, so `--help` and mistakes answer at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar, cast

from absl import flags

from cxrjax.base import InputError, did_you_mean, faults
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.flags import ANY_PROGRAM, DryRunFlags, flag, flags_of

from . import _display, _help, _terminal

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Config = TypeVar("Config", bound="DataclassInstance")


def main(
    config: Config,
    description: str,
    argv: list[str] | None = None,
    experiment_of: Callable[[Config], ExperimentConfig] = lambda config: config,  # type: ignore[assignment, return-value]
) -> None:
    """Runs an experiment from the command line and exits: 0, or 2 after a mistake of the user's.

    Args:
      config: the experiment with its defaults.
      description: what --help shows above the flags.
      argv: arguments without the program's name; None: the process's.
      experiment_of: what the flags are made into; none: they are an experiment.
    """
    with one_line_for_mistakes("; the same command continues"):
        given, way = parse_all((config, DryRunFlags()), description, argv)
        parsed = experiment_of(given)
        from cxrjax.base import devices
        from cxrjax.report import terminal
        from cxrjax.runs import experiment

        start(keep=not way.dry_run)
        if way.dry_run:
            from cxrjax.runs import forecast

            with devices.programs_not_kept():
                show_forecast(forecast.of_experiment(parsed))
            return
        results = experiment.run(parsed)
        if devices.is_first():
            _display.result(terminal.result(results.summary))
            _terminal.show(f"{terminal.answer(results)}\n\n{terminal.last_words(parsed)}")


def start(keep: bool = True) -> None:
    """Before a program's first computation, as `devices.start`; compiled programs are kept in the cache, if `keep`."""
    from cxrjax.base import devices
    from cxrjax.data.load import cache_dir

    devices.start(cache_dir() / "programs" if keep else None)


def show_forecast(lines: Sequence[tuple[str, str]]) -> None:
    """Prints what would be done."""
    names, columns = 3 + max(len(name) for name, _ in lines), _help.width()
    told = [line for name, text in lines for line in _help.columned(name, text, names + 2, columns)]
    _terminal.show("\n".join(["dry run: nothing is trained or written", *told]))


@contextlib.contextmanager
def one_line_for_mistakes(after_interrupt: str = "") -> Iterator[None]:
    """Turns what is not the program's own mistake into one line on standard error and an exit status.

    2: a mistake of the user's (InputError) or a fault of the machine (`base.faults`). 128 + the signal's number:
    Ctrl-C, SIGTERM, SIGHUP, and, without a line, a pipe that nobody reads any more.

    Args:
      after_interrupt: what the line says behind `interrupted`.
    """
    _terminal.prepare()
    _keep_fonts()
    try:
        with _terminal.signals(), _display.screen():
            yield
            sys.stdout.flush()
    except InputError as error:
        _end(str(error))
    except BrokenPipeError:
        _terminal.silence(sys.stdout)
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt as error:
        number = error.args[0] if isinstance(error, _terminal.Stopped) else signal.SIGINT
        _terminal.show(f"interrupted{after_interrupt}", sys.stderr)
        sys.exit(128 + number)
    except Exception as error:
        line = faults.sentence(error)
        if line is None:
            raise
        _end(line)
    finally:
        _terminal.end()


def _keep_fonts() -> None:
    """Where the home may not be written matplotlib's list of fonts lies in CXRJAX_CACHE; each start would make one."""
    cache = os.environ.get("CXRJAX_CACHE")
    if not cache or os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111 - Path.home() may raise
        return
    if os.access(cache, os.W_OK) or not Path(cache).exists():
        os.environ.setdefault("MPLCONFIGDIR", str(Path(cache).absolute() / "matplotlib"))


def _end(line: str) -> NoReturn:
    _terminal.show(f"error: {' '.join(line.split())}", sys.stderr)
    sys.exit(2)


@dataclasses.dataclass(frozen=True)
class AnyProgram:
    """Flags that every program has."""

    GROUP: ClassVar[str] = ANY_PROGRAM

    quiet: bool = flag(False, "show the result and errors alone")
    help: bool = flag(False, "show this help", short="h")


def parse(config: Config, description: str, argv: list[str] | None = None, arguments: str = "") -> Config:
    """`parse_all` of one dataclass."""
    return cast(Config, parse_all((config,), description, argv, arguments)[0])


def parse_all(
    configs: Sequence[DataclassInstance], description: str, argv: list[str] | None = None, arguments: str = ""
) -> list[Any]:
    """Applies flags to frozen dataclasses; their fields made by `flags.flag` are the flags. --help prints, exits 0.

    Args:
      configs: with their defaults; no two have a flag of the same name.
      description: what --help shows above the flags.
      argv: arguments without the program's name; None: the process's.
      arguments: field of the first that takes the arguments that are no flags, wherever they stand, as a tuple of
        paths; after `--` all are such. "": there must be none.

    Raises:
      InputError: for an unknown flag, a bad value or a stray argument.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(bool(arguments))
    for config in (*configs, AnyProgram()):
        for field in flags_of(config):
            _define(values, field.name, getattr(config, field.name), dict(field.metadata))
    try:
        rest = values(["flags", *(sys.argv[1:] if argv is None else argv)])[1:]
    except flags.UnrecognizedFlagError as error:
        names = [*values, *(f"no{name}" for name in values if values[name].boolean)]
        near = did_you_mean(error.flagname, names, "--")
        raise InputError(f"there is no flag --{error.flagname}{near} (--help lists the flags)") from error
    except (flags.Error, ValueError) as error:  # ValueError: --noNAME=VALUE
        raise InputError(f"{str(error).removeprefix('flag ')} (--help lists the flags)") from error
    if values.help:
        print(_help.page((*configs, AnyProgram()), description))
        sys.exit(0)
    if rest and not arguments:
        raise InputError(f"unexpected argument {rest[0]!r}; values are given as --flag=value")
    first, *others = (_applied(config, values) for config in configs)
    if arguments:
        first = dataclasses.replace(first, **{arguments: tuple(_expanded("", word) for word in rest)})
    _display.show(values.quiet)
    return [first, *others]


def _applied(config: Any, values: flags.FlagValues) -> Any:
    """The dataclass with what was given, before what its preset sets, before its defaults."""
    fields = {field.name: field for field in flags_of(config)}
    given: dict[str, Any] = {name: values[name].value for name in fields}
    for name, field in fields.items():
        if separator := field.metadata.get("path"):
            given[name] = _expanded(f"--{name}=", given[name], separator)
    config = dataclasses.replace(config, **given)
    preset = {name: value for name, value in getattr(config, "preset", {}).items() if name in fields}
    return dataclasses.replace(config, **{k: v for k, v in preset.items() if not values[k].present})


def _expanded(flag_name: str, value: str | None, separator: str | bool = True) -> str | None:
    """A path with the home folder that ~ or ~USER at its beginning stands for; of several, each.

    Raises:
      InputError: if no such home is known.
    """
    paths = (value or "").split(separator) if isinstance(separator, str) else [value or ""]
    expanded = [os.path.expanduser(path) for path in paths]  # noqa: PTH111 - Path would drop a last slash
    for path in expanded:
        if path.startswith("~"):
            raise InputError(
                f"{flag_name}{path}: no such home folder is known; ./{path} is a file whose name begins so"
            )
    return value and (separator if isinstance(separator, str) else "").join(expanded)


def _define(values: flags.FlagValues, name: str, default: Any, rules: dict[str, Any]) -> None:
    kind = rules.get("kind", type(default))
    words = {word: word for word in rules.get("choices", ())} | rules.get("words", {})
    parser: flags.ArgumentParser[Any] = flags.ArgumentParser()
    if words or kind in (bool, int, float):
        number = None if kind is bool or "choices" in rules else kind
        parser = _Value(words or (_YES_NO if kind is bool else {}), number, rules.get("lower"), rules.get("upper"))
    defined = flags.Flag(parser, None, name, default, rules["help"], rules.get("short"), boolean=kind is bool)
    flags.DEFINE_flag(defined, values)


_YES_NO = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class _Value(flags.ArgumentParser):
    """Of a flag that takes one of some words, or a number within bounds."""

    def __init__(self, words: Mapping[str, Any], number: Callable[[str], float] | None, *bounds: float | None) -> None:
        """`words` -> what each stands for; `number`: int or float, None if it takes none; `bounds`: lower, upper."""
        self._words, self._number, self._bounds = words, number, bounds

    def parse(self, argument: Any) -> Any:
        """What a word or a number stands for; what is no text is the default."""
        if not isinstance(argument, str):
            return argument
        if (word := argument if argument in self._words else argument.lower()) in self._words:
            return self._words[word]
        with contextlib.suppress(ValueError):
            number = self._number(argument) if self._number else math.nan
            lower, upper = (number if bound is None else bound for bound in self._bounds)
            if lower <= number <= upper and abs(number) < math.inf:
                return number
        raise ValueError(f"must be {self._rule()}{did_you_mean(argument, self._words)}")

    def _rule(self) -> str:
        if not self._number:
            return f"one of {', '.join(self._words)}"
        lower, upper = self._bounds
        end = "on" if upper is None else f"to {upper:.12g}"
        bounds = "" if lower is None else f" from {lower:.12g} {end}"
        return " or ".join([*self._words, f"{'a whole number' if self._number is int else 'a number'}{bounds}"])


def counts(name: str, text: str) -> tuple[int, ...]:
    """The numbers of a flag, each once.

    >>> counts("seeds", "1,10")
    (1, 10)

    Raises:
      InputError: if there is none, or one is not a whole number above 0.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"--{name} must be whole numbers above 0 with commas between them, got {text!r}")
    return tuple(dict.fromkeys(int(word) for word in words))


def refuse_out(out: Path, kept: Mapping[str, str | None]) -> None:
    """Refuses a folder whose files a program would replace, where it is none, a run's, or lies in what it reads.

    Args:
      out: the folder.
      kept: flag -> folder that is never changed, if it is given.

    Raises:
      InputError: naming it.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out={out} is a file; it must be a folder or not exist")
    if (out / "config.json").is_file():
        raise InputError(f"--out={out} holds a run, whose files are never changed")
    for name, place in kept.items():
        if place and out.resolve().is_relative_to(Path(place).resolve()):
            raise InputError(f"--out={out} lies in --{name}={place}, which is never changed; give another folder")
