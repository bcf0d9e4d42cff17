"""Two finished runs side by side as one page: the answer, every metric, settings that differ, both runs' figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cxrjax.analysis import comparison
from cxrjax.analysis.comparison import DELONG, Comparison
from cxrjax.analysis.tables import Results
from cxrjax.base.config import ExperimentConfig
from cxrjax.report import figures, pages, rows, sections
from cxrjax.report.language import Language, language, note
from cxrjax.report.rows import Numbers
from cxrjax.report.sections import verdict

_SIDES = ("a", "b")


def html(compared: Comparison, results: Sequence[Results], names: Sequence[str], data: str = "validation") -> str:
    """The page, in the language of the first run's report; it fetches nothing and runs no script.

    Args:
      compared: Tests of the two runs.
      results: Of both, a and b.
      names: Of both, for people.
      data: The set of images that was compared: validation, test or external.
    """
    t = language(results[0].config.lang)
    numbers, task = Numbers(t, units=True), results[0].task
    values = {
        "task": task,
        "question": t(task.question, positive=t(task.positive.title), negative=t(task.negative.title)),
        "answer": _answer(compared, t),
        "data": t.word("compared", data),
        "runs": [_run(*side, t) for side in zip(_SIDES, names, results, strict=True)],
        "metrics": [_metric(row, numbers) for row in compared.metrics.to_dict("records")],
        "seeds": [_seed(row, numbers) for row in compared.delong.to_dict("records")],
        "statistic": "z" if compared.metrics["statistic"][compared.metrics["metric"] == DELONG].notna().any() else "t",
        "notes": [note(text, t) for text in compared.notes if not text.startswith("settings_differ")],  # have a table
        "settings": _settings([of_run.config for of_run in results]),
        "sections": _figures(results, t),
    }
    return str(pages.html("comparison.html.jinja", t, values))


def _answer(compared: Comparison, t: Language) -> str:
    """Whether the two differ in AUROC, in one plain sentence."""
    (row,) = compared.metrics[compared.metrics["metric"] == "auroc"].to_dict("records")
    a, b, difference, low, high = (row[name] for name in ("a", "b", "difference", "low", "high"))
    if math.isnan(difference):
        return t("Not known: AUROC is not defined in both runs.")
    values = {
        "a": t.number(a, 2), "b": t.number(b, 2), "difference": t.signed(difference, 2),
        "low": t.signed(low, 2), "high": t.signed(high, 2),
    }  # fmt: skip
    if math.isnan(low):
        return t("Not known: AUROC is %(a)s in a and %(b)s in b, without an interval.", **values)
    if low > 0:
        return t(
            "Yes: b has the higher AUROC, %(b)s against %(a)s (b − a %(difference)s, %(low)s to %(high)s).", **values
        )
    if high < 0:
        return t(
            "Yes: a has the higher AUROC, %(a)s against %(b)s (b − a %(difference)s, %(low)s to %(high)s).", **values
        )
    return t(
        "Not shown: AUROC is %(a)s in a and %(b)s in b, a difference that chance may explain (b − a %(difference)s, "
        "%(low)s to %(high)s).",
        **values,
    )


def _run(side: str, name: str, results: Results, t: Language) -> dict[str, Any]:
    network = results.environment["network"]
    return {
        "side": side,
        "name": name,
        "network": network["label"],
        "first": "linear" if results.config.head == "linear" else network["retrained"][0],
        "seeds": t.count(len(results.analysis.seeds)),
        "images": t.count(results.tables.predictions["image"].nunique()),
        "answer": verdict.answer(results, t),
    }


def _metric(row: Mapping[Any, Any], numbers: Numbers) -> dict[str, Any]:
    """A row of `Comparison.metrics`, written out."""
    name = str(row["metric"])
    of, t = ("auroc" if name == DELONG else name), numbers.t
    return {
        "name": t("AUROC, DeLong's test") if name == DELONG else numbers.name(name, math.nan),
        **{side: numbers.value(of, row[side]) for side in _SIDES},
        "difference": numbers.signed(of, row["difference"]),
        "interval": numbers.difference_interval(of, row["low"], row["high"]),
        "statistic": t.number(row["statistic"], 2),
        "p": numbers.p(row["p"]),
        "seeds": t.count(row["seeds"]),
        "reason": row["reason"],
    }


def _seed(row: Mapping[Any, Any], numbers: Numbers) -> dict[str, Any]:
    """A row of `Comparison.delong`, written out."""
    return _metric({**row, "metric": "auroc", "seeds": 1}, numbers) | {"seed": row["seed"]}


def _settings(configs: Sequence[ExperimentConfig]) -> list[tuple[str, list[str]]]:
    """Flags whose values differ, with those of both."""
    return [
        (field.name, [rows.text(getattr(config, field.name)) for config in configs])
        for field in dataclasses.fields(ExperimentConfig)
        if field.name not in comparison.IRRELEVANT and len({getattr(config, field.name) for config in configs}) > 1
    ]


def _figures(results: Sequence[Results], t: Language) -> list[dict[str, Any]]:
    """Of each section of the report its figures, both runs' beside each other; None where a run lacks one."""
    shown = []
    for section in sections.of(results[0]):
        plots = []
        for name, draw in section.figures.items():
            pair = [draw(of_run, t) for of_run in results]
            if any(pair):
                plots.append([_plot(f"{side}-{name}", picture) for side, picture in zip(_SIDES, pair, strict=True)])
        if plots:
            shown.append({"key": section.key, "title": t(section.title), "plots": plots})
    return shown


def _plot(name: str, picture: figures.Picture | None) -> dict[str, str] | None:
    return picture and {"svg": figures.inline(name, picture), "alt": picture.alt}
