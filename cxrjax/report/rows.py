"""Rows of tables, for the report and for the cards: values of metrics under their names, written as people read them.

Names and units are those of `cxrjax.metrics.registry`. Every row is a dict of texts, a dash where there is no value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from cxrjax.analysis.comparison import DELONG, Comparison
from cxrjax.analysis.tables import Results
from cxrjax.base import codes
from cxrjax.metrics import registry
from cxrjax.report.language import DASH, ENGLISH, Language, printable, reasons

_OF_ALL_METRICS = ("one_seed", "seeds_share_images")
SHARE_OF_LEAKAGE = "contaminated_share"  # in `Analysis.leakage`, beside metrics


@dataclasses.dataclass(frozen=True)
class Numbers:
    """How values of metrics are written: shares in percent with one digit, all others with three.

    >>> CARD.value("accuracy", 0.7316), CARD.value("auroc", 0.8181), CARD.value("auroc", math.nan)
    ('73.2 %', '0.818', '–')
    """

    t: Language
    units: bool = False
    """True: ` %` stands beside each share; False: it stands in the metric's name."""

    def name(self, metric: str, prevalence: float = math.nan, unit: bool = True) -> str:
        """What people call it; `unit` says whether ` (%)` may follow."""
        if metric == SHARE_OF_LEAKAGE:
            name = self.t("validation images of patients trained on")
        else:
            name = self.label(registry.METRICS[metric], self.t.share(prevalence))
        if self.units:
            return name[:1].upper() + name[1:]
        return f"{name} (%)" if unit and _is_share(metric) else name

    def label(self, metric: registry.Metric, prevalence: str) -> str:
        """What people call it, without a unit."""
        values = {"prevalence": prevalence} if "prevalence" in metric.takes else {}
        return self.t(metric.label, **values)

    def short(self, metric: str) -> str:
        """Its name where there is little room, without a unit."""
        return self.t(registry.METRICS[metric].short)

    def value(self, metric: str, value: float) -> str:
        """A value; a dash if it is undefined."""
        return self._bare(metric, value) + self._unit(metric, value)

    def mean_sd(self, metric: str, mean: float, sd: float) -> str:
        """A mean over runs and its standard deviation, which one run does not have.

        >>> CARD.mean_sd("accuracy", 0.732, 0.0316), CARD.mean_sd("auroc", 0.818, math.nan)
        ('73.2 ± 3.2 %', '0.818')
        """
        if math.isnan(mean) or math.isnan(sd):
            return self.value(metric, mean)
        return f"{self._bare(metric, mean)} ± {self.value(metric, sd)}"

    def interval(self, metric: str, low: float, high: float) -> str:
        """Two ends; a dash without them.

        >>> CARD.interval("accuracy", 0.677, 0.785)
        '67.7 to 78.5 %'
        """
        return self.t.interval(self._bare(metric, low), self.value(metric, high))

    def difference(self, metric: str, value: float) -> str:
        """A difference of two values with its sign; of shares in points of a hundred, which per cent are not.

        >>> CARD.difference("accuracy", 0.061), CARD.difference("auroc", -0.02)
        ('+6.1 points', '-0.020')
        """
        return self.signed(metric, value) + (" points" if self._unit(metric, value) else "")

    def signed(self, metric: str, value: float) -> str:
        """A value with its sign, without its unit."""
        return self.t.signed(100 * value, 1) if _is_share(metric) else self.t.signed(value)

    def difference_interval(self, metric: str, low: float, high: float) -> str:
        """Both ends of a difference's interval, with their signs."""
        return self.t.interval(self.signed(metric, low), self.signed(metric, high))

    def difference_and_interval(self, metric: str, value: float, low: float, high: float) -> str:
        """A difference with its interval in brackets, where it has one.

        >>> CARD.difference_and_interval("accuracy", 0.061, 0.002, 0.12)
        '+6.1 points (+0.2 to +12.0)'
        """
        ends = self.difference_interval(metric, low, high)
        return self.difference(metric, value) + ("" if ends == DASH else f" ({ends})")

    def p(self, p: float) -> str:
        """A p value, 0..1.

        >>> CARD.p(0.0004), CARD.p(0.0312)
        ('< 0.001', '0.031')
        """
        return f"< {self.t.number(0.001)}" if p < 0.001 else self.t.number(p)

    def _bare(self, metric: str, value: float) -> str:
        return self.t.percent(value) if _is_share(metric) else self.t.number(value)

    def _unit(self, metric: str, value: float) -> str:
        return " %" if self.units and _is_share(metric) and not math.isnan(value) else ""


# Of Markdown documents, which are English; their minus is the keyboard's.
CARD = Numbers(dataclasses.replace(ENGLISH, minus="-"), units=True)


def _is_share(metric: str) -> bool:
    return metric == SHARE_OF_LEAKAGE or (metric in registry.METRICS and registry.METRICS[metric].is_share)


def estimates(results: Results, data: str = "internal", rule: str = "fixed") -> dict[str, dict[Any, Any]]:
    """Rows of `Analysis.metrics` of one set of images by one rule, by metric; none of a set that is not there."""
    table = results.analysis.metrics
    table = table[(table["data"] == data) & (table["rule"] == rule)]
    return {str(name): row for name, row in table.set_index("metric").to_dict("index").items()}


class Row(NamedTuple):
    """A metric of one set of images at one threshold, written out."""

    key: str
    name: str
    mean: str  # mean ± SD over the runs
    interval: str  # of this mean
    pooled: str  # of all runs' scores together
    pooled_interval: str


def metrics(results: Results, data: str, rule: str, numbers: Numbers) -> dict[str, Row]:
    """A row for each metric, by its name.

    Args:
      results: Results of one run.
      data: internal, external or test; a set that is not there has no row.
      rule: fixed (threshold 0.5) or chosen (each run's own), which has rows of decisions only.
      numbers: How they are written.
    """
    prevalence = results.config.prevalence
    return {
        name: Row(
            name,
            numbers.name(name, prevalence),
            numbers.mean_sd(name, row["mean"], row["sd"]),
            numbers.interval(name, row["low"], row["high"]),
            numbers.value(name, row["pooled"]),
            numbers.interval(name, row["pooled_low"], row["pooled_high"]),
        )
        for name, row in estimates(results, data, rule).items()
        if rule == "fixed" or registry.METRICS[name].is_decision
    }


def undefined(results: Results, data: str, numbers: Numbers, rules: tuple[str, ...] = ("fixed", "chosen")) -> list[str]:
    """What is undefined, or has no interval, and why: a line a reason, with the metrics it holds for.

    What holds for all metrics, that there is one seed or that seeds share their images, the pages say themselves.
    """
    table = results.analysis.metrics
    table = table[(table["data"] == data) & table["rule"].isin(rules)]
    if rules == ("chosen",):
        table = table[[registry.METRICS[name].is_decision for name in table["metric"]]]
    return _by_reason(table, results.config.prevalence, numbers)


def _by_reason(table: pd.DataFrame, prevalence: float, numbers: Numbers) -> list[str]:
    names: dict[str, list[str]] = {}
    for metric, undefined in zip(table["metric"], table["undefined"], strict=True):
        if reason := why(undefined, numbers.t):
            names.setdefault(reason, []).append(numbers.name(metric, prevalence))
    return [f"{', '.join(dict.fromkeys(listed))}: {reason}." for reason, listed in names.items()]


class Ensemble(NamedTuple):
    """`Analysis.ensemble` of one set, written out: name, single, ensemble, interval, gain, gain_interval of a row."""

    rows: Sequence[tuple[str, ...]]
    undefined: list[str]


def ensemble(results: Results, data: str, numbers: Numbers) -> Ensemble:
    """A row for each metric of a set; none where there is no ensemble of it."""
    table, prevalence = results.analysis.ensemble, results.config.prevalence
    if table is None:
        return Ensemble([], [])
    table = table[table["data"] == data]
    written = [
        (
            numbers.name(row["metric"], prevalence),
            numbers.value(row["metric"], row["single"]),
            numbers.value(row["metric"], row["ensemble"]),
            numbers.interval(row["metric"], row["ensemble_low"], row["ensemble_high"]),
            numbers.difference(row["metric"], row["gain"]) if row["gain"] == row["gain"] else DASH,
            numbers.difference_interval(row["metric"], row["gain_low"], row["gain_high"]),
        )
        for row in records(table)
    ]
    return Ensemble(written, _by_reason(table, prevalence, numbers))


def why(undefined: str, t: Language) -> str:
    """Reasons in words, but for those that hold for all metrics."""
    return reasons(codes.join([text for text in undefined.split("; ") if text not in _OF_ALL_METRICS]), t)


def outcome(row: Mapping[Any, Any]) -> str:
    """Whether a floor, a row of `Analysis.floors`, is beaten: yes, no, unknown (one run, or differences that do not
    vary), not_run, or network, which is no floor."""
    if row["floor"] == "network" or not row["available"]:
        return "network" if row["floor"] == "network" else "not_run"
    return "unknown" if pd.isna(row["beaten"]) else "yes" if row["beaten"] else "no"


def records(table: pd.DataFrame | None) -> list[dict[Any, Any]]:
    """Rows of a table; none if there is none."""
    return [] if table is None else table.to_dict("records")


def text(value: object) -> str:
    """Any value of a configuration or environment on one line."""
    if value is None:
        return DASH
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else printable(value)


def comparison(compared: Comparison, a: str, b: str) -> str:
    """Two runs, or sets of scores, side by side, for a terminal: shares in percent, other metrics as they are.

    Args:
      compared: Tests of the two.
      a: Name of the one.
      b: Name of the other.
    """
    shown, lines = [], []
    rows = compared.metrics
    statistic = "z" if rows["statistic"][rows["metric"] == DELONG].notna().any() else "t"
    for row in rows.to_dict("records"):
        name = str(row["metric"])
        ends = [_terminal(row[end], name, "+") for end in ("low", "high")]
        shown.append(
            {
                "": name,
                "a": _terminal(row["a"], name),
                "b": _terminal(row["b"], name),
                "b - a": _terminal(row["difference"], name, "+"),
                "95 % interval": "-" if ends == ["-", "-"] else " to ".join(ends),
                statistic: "-" if math.isnan(row["statistic"]) else f"{row['statistic']:.2f}",
                "p": "-" if math.isnan(row["p"]) else f"{row['p']:.2g}",
                "seeds": row["seeds"],
            }
        )
        if row["reason"]:
            lines.append(f"{name}: {reasons(row['reason'], ENGLISH)}")
    lines += [reasons(note, ENGLISH) for note in compared.notes]
    return "\n".join([f"a: {a}", f"b: {b}", "", pd.DataFrame(shown).to_string(index=False), "", *lines])


def _terminal(value: float, metric: str, sign: str = "") -> str:
    if math.isnan(value):
        return "-"
    return f"{100 * value:{sign}.1f} %" if _is_share(metric) else f"{value:{sign}.3f}"


def enlarged(counts: Mapping[str, int] | None, t: Language) -> str:
    """How many images were enlarged and by how much, in one sentence; "" where it is not known.

    Args:
      counts: size, images, of, median and smallest, as a store's `about.json` has them.
      t: language of the page.
    """
    if not counts:
        return ""
    numbers = {name: t.count(number) for name, number in counts.items()}
    if not counts["images"]:
        return t("No image was enlarged to reach %(size)s pixels a side.", size=numbers["size"])
    return t(
        "Enlarged to %(size)s pixels a side: %(images)s of %(of)s images, from %(median)s (median; smallest "
        "%(smallest)s). That adds no detail.",
        **numbers,
    )
