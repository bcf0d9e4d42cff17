"""A run with many labels: its answer in words, its findings side by side, and which of them come together."""

from __future__ import annotations

import collections
import math
from collections.abc import Hashable, Iterable
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from cxrjax.analysis.tables import SCORED_BY_ALL, FindingsResults, Results
from cxrjax.base.tasks import present
from cxrjax.report import rows
from cxrjax.report.figures import Picture
from cxrjax.report.figures import findings as drawing
from cxrjax.report.language import Language
from cxrjax.report.pages import Section
from cxrjax.report.sections import verdict as of_one

Rows = list[dict[Hashable, Any]]


def answer(results: FindingsResults, t: Language) -> str:
    """Of how many findings the network is better than the floor that counts most, in one plain sentence."""
    if len(results.findings) == 1:
        return of_one.answer(results.findings[0], t)
    each = [of_one.standing(of_finding) for of_finding in results.findings]
    floors = {floor for claim, floor in each if claim != "undefined"}
    counts = collections.Counter(claim for claim, _ in each)
    claim = next((name for name in ("better", "chance", "undecided", "few_runs", "none") if counts[name]), "undefined")
    sentence = t.word(
        "answer_findings", claim, n=t.count(counts[claim]), of=t.count(len(each)),
        floor=t.word("answer_floor", floors.pop() if len(floors) == 1 else "mixed"),
        runs=t.count(results.summary["runs"]),
    )  # fmt: skip
    return _upper(of_one.context(results.config, sentence, t)) + "."


def verdict(results: FindingsResults, t: Language) -> str:
    """The mean AUROC with its interval and its ends, what floors reach, what others published, what is undefined."""
    mean, *each = table(results, t)
    defined = [row for row in each if row["is_defined"]]
    if not defined:
        return t("No finding has an AUROC in every run: too few images have the finding, or too few do not have it.")
    sentences = [_mean(results.summary["runs"], mean, len(defined), t)]
    if len(defined) > 1:
        worst, *_, best = sorted(defined, key=lambda row: row["auroc"])
        named = [f"{row['title'].lower()} ({t.number(row['auroc'], 2)})" for row in (best, worst)]
        sentences.append(t("Best is %(best)s, worst %(worst)s.", best=named[0], worst=named[1]))
    floors = [f"{t.word('verdict_floor', name)} {t.number(value, 2)}" for name, value in mean["floors"].items()]
    if floors:
        sentences.append(t("Floors to beat, on average: %(floors)s.", floors=", ".join(floors)))
    published = [
        t("%(name)s %(auroc)s (split: %(split)s)", name=p.name, auroc=t.number(mean[p.name], 2), split=t(p.split))
        for p in results.task.published_aurocs
    ]
    if published:
        sentences.append(
            t("Published means of these findings, on other images: %(values)s.", values=", ".join(published))
        )
    if missing := [row["title"].lower() for row in each if not row["is_defined"]]:
        sentences.append(
            t("Not defined in every run, so left out of the means: %(findings)s.", findings=t.listed(missing))
        )
    return " ".join(sentences)


def _mean(runs: int, mean: dict[Hashable, Any], findings: int, t: Language) -> str:
    sentence = t.plural(
        "AUROC %(auroc)s, mean of %(findings)s findings in %(n)s run",
        "AUROC %(auroc)s, mean of %(findings)s findings and %(n)s runs",
        runs, auroc=t.number(mean["auroc"], 2), findings=t.count(findings),
    )  # fmt: skip
    if math.isnan(mean["low"]):
        return f"{sentence}."
    ends = {end: t.number(mean[end], 2) for end in ("low", "high")}
    return sentence + t(" (95 %% interval %(low)s to %(high)s).", **ends)


def table(results: FindingsResults, t: Language) -> Rows:
    """A row for the mean of the findings that have an AUROC in every run, then one for each finding.

    Of each: title, auroc, sd, low, high, floors (name -> AUROC) and each published AUROC by its name; of a finding
    finding, is_defined, images, positives, auprc, outcomes (floor -> see `rows.outcome`), others (further set -> AUROC
    pooled, low, high), threshold, at_half and at_chosen (metric -> its row of `Analysis.metrics`), why.
    """
    defined = set(results.summary["mean_auroc"]["findings"])
    each = [
        _row(part.positive.finding in defined, _upper(t(part.positive.title)), of_finding, counts, t)
        for part, of_finding, counts in zip(
            results.task.parts, results.findings, results.table.to_dict("records"), strict=True
        )
    ]
    of_mean = [row for row in each if row["is_defined"]]
    means: dict[Hashable, Any] = {
        name: math.nan if value is None else value for name, value in results.summary["mean_auroc"].items()
    }
    means |= {p.name: _mean_of(row[p.name] for row in of_mean) for p in results.task.published_aurocs}
    means["floors"] = {
        name: value
        for name in dict.fromkeys(name for row in of_mean for name in row["floors"])
        if not math.isnan(value := _mean_of(row["floors"].get(name, math.nan) for row in of_mean))
    }
    return [means | {"auroc": means["mean"], "title": t("Mean of %(n)s", n=t.count(len(of_mean)))}, *each]


def _mean_of(values: Iterable[float]) -> float:
    """NaN where one is."""
    listed = list(values)
    return float(np.mean(listed)) if listed else math.nan


def _row(
    is_defined: bool, title: str, of_finding: Results, counts: dict[Hashable, Any], t: Language
) -> dict[Hashable, Any]:
    at_half, floors = rows.estimates(of_finding), of_finding.analysis.floors
    floors = floors[~floors["floor"].isin(("network", "majority")) & floors["auroc"].notna()]  # majority is chance
    return counts | {
        "title": title,
        "link": f"findings/{quote(of_finding.config.finding)}/report.html",
        "is_defined": is_defined,
        **{name: at_half["auroc"][name] for name in ("sd", "low", "high")},
        "floors": dict(zip(floors["floor"], floors["auroc"], strict=True)),
        "outcomes": {row["floor"]: rows.outcome(row) for row in floors.to_dict("records")},
        "others": {
            data: estimates["auroc"] for data in SCORED_BY_ALL if (estimates := rows.estimates(of_finding, data))
        },
        "threshold": of_finding.analysis.seeds["threshold"].mean(),
        "at_half": at_half,
        "at_chosen": rows.estimates(of_finding, rule="chosen"),
        "at_prior": rows.estimates(of_finding, rule="prior"),
        "why": rows.why(at_half["auroc"]["undefined"], t),
    }


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def findings(results: FindingsResults, t: Language) -> dict[str, Any]:
    """Rows of `table`, and which floors and further sets have columns."""
    mean, *each = table(results, t)
    floors = dict.fromkeys(name for row in each for name in row["floors"])
    return {
        "mean": mean,
        "rows": each,
        "floors": list(floors),
        "others": list(each[0]["others"]),
        "reasons_of_findings": [f"{row['title']}: {row['why']}." for row in each if row["why"]],
        "nan": math.nan,
    }


def split_name(results: FindingsResults, t: Language) -> str:
    """How this run's validation images were chosen."""
    by_image = results.config.split_by == "image" or results.summary["data"]["patients_unknown"]
    return t("random, by image") if by_image else t("random, by patient")


def _aurocs(results: FindingsResults, t: Language) -> Picture:
    shown = {str(row["title"]): row for row in table(results, t)}
    return drawing.aurocs(shown, results.task.published_aurocs, split_name(results, t), t)


def _roc(results: FindingsResults, t: Language) -> Picture:
    each = zip(table(results, t)[1:], results.findings, strict=True)
    return drawing.roc({row["title"]: (x.tables.predictions, row["auroc"], row["sd"]) for row, x in each}, t)


def _calibration(results: FindingsResults, t: Language) -> Picture:
    each = zip(table(results, t)[1:], results.findings, strict=True)
    return drawing.calibration({r["title"]: (x.analysis.calibration, r["at_half"]["ece"]["mean"]) for r, x in each}, t)


def together(results: FindingsResults) -> np.ndarray:
    """Images [K, K] of all runs that are known to have both findings, each once; on the diagonal those with one."""
    images = pd.concat([of_finding.tables.images for of_finding in results.findings]).drop_duplicates("image")
    names = [part.positive.finding for part in results.task.parts]
    has = np.array([[name in found for name in names] for found in map(present, images["labels"])], int)
    return has.reshape(-1, len(names)).T @ has.reshape(-1, len(names))


def _together(results: FindingsResults, t: Language) -> Picture:
    names = [_upper(t(part.positive.title)) for part in results.task.parts]
    return drawing.together(together(results), names, t)


FINDINGS = Section("findings", "Findings", findings, {"aurocs": _aurocs})
DECISIONS = Section("thresholds", "Decisions and calibration", findings)
CURVES = Section("small", "Curves", figures={"roc": _roc, "calibration": _calibration})
TOGETHER = Section("together", "Findings that come together", figures={"together": _together})
