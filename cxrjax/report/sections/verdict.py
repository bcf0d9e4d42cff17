"""The answer: the report's first sentence, and what it rests on in a few more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cxrjax.analysis.tables import Results
from cxrjax.base import codes
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import Published
from cxrjax.metrics import registry
from cxrjax.report import rows
from cxrjax.report.language import DASH, Language

_FIRST = ("film", "metadata", "majority")  # the first sentence has the first of these floors that there is
_TWO_DIGITS = 0.005  # ends of an interval nearer to 0 have three


def answer(results: Results, t: Language) -> str:
    """The task's question answered in one plain sentence, as far as the intervals allow."""
    claim, floor = standing(results)
    runs = t.count(len(results.analysis.seeds))
    sentence = t.word("answer", claim, floor=t.word("answer_floor", floor), runs=runs)
    if claim in ("better", "chance"):
        sentence = _beside_probe(sentence, results, t)
    sentence = context(results.config, sentence, t)
    return f"{sentence[:1].upper()}{sentence[1:]}."


def _beside_probe(answer: str, results: Results, t: Language) -> str:
    """An answer in favour of the network, with what takes from it: a linear probe that is not shown to be worse."""
    network, floors = _floors(results)
    probe = floors.get("probe")
    if not probe or probe["claim"] == "better" or math.isnan(probe["auroc"]):
        return answer
    aurocs = {"probe": t.number(probe["auroc"]), "auroc": t.number(network["auroc"])}
    return t.word("answer_probe", "worse" if probe["claim"] == "worse" else "undecided", answer=answer, **aurocs)


def _floors(results: Results) -> tuple[dict[Any, Any], dict[str, dict[Any, Any]]]:
    """The row of the network, and floor -> its row, of those that there are."""
    network, *others = results.analysis.floors.to_dict("records")
    floors = {row["floor"]: row for row in others if row["available"]}
    return network, floors


def standing(results: Results) -> tuple[str, str]:
    """What is said of the network beside the floor that counts most: a claim, `chance` where it is shown to be better
    than chance alone, `undefined` without an AUROC; and that floor."""
    network, floors = _floors(results)
    first = next((name for name in _FIRST if name in floors), "")
    if math.isnan(network["auroc"]) or not first:
        return "undefined", first
    claim = floors[first]["claim"] or "none"
    beats_chance = first != "majority" and floors.get("majority", {}).get("claim") == "better"
    return "chance" if claim == "undecided" and beats_chance else claim, first


def verdict(results: Results, t: Language) -> str:
    """What the network reaches, beside what a film's view, sex and age alone do, in the words that the interval allows.

    Then the follow-up number, other floors, and accuracy beside the published one.
    """
    network, floors = _floors(results)
    first = next((name for name in _FIRST if name in floors), "")
    begun = "" if not math.isnan(network["auroc"]) else t("AUROC is undefined in these images")
    sentences = [begun or _first(results, network, floors.pop(first, None), floors, t)]
    if first == "film" and (row := floors.pop("metadata", None)) and "followup" in _used(row):
        values = {"value": _two(row["auroc"], t), "claim": _claim(row, results, t)}
        together = t(
            "Together with the follow-up number, which cannot be seen on a radiograph, they reach %(value)s; %(claim)s",
            **values,
        )
        sentences.append(together)
    sentences += [_beside(row, results, t) for row in floors.values() if row["claim"] not in ("better", "")]
    if names := [_name(row, t) for row in floors.values() if row["claim"] == "better" and row["floor"] != "majority"]:
        sentences.append(t("It is also better than %(floors)s", floors=t.listed(names)))
    sentences += [*_held_out(results, t), _accuracy(results, t)]
    return " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences)


def context(config: ExperimentConfig, sentence: str, t: Language) -> str:
    """What must be known of the run before the sentence is read."""
    if config.match:
        names = t.listed([t.word("name", name) for name in config.match.split(",")])
        sentence = t("on images matched by %(names)s: %(values)s", names=names, values=sentence)
    if config.control == "shuffled_labels":
        sentence = t("as a control, trained on shuffled labels: %(values)s", values=sentence)
    if config.data_dir is None:
        sentence = t("on drawn phantoms, not on patients: %(values)s", values=sentence)
    return sentence


def _first(
    results: Results, network: dict[Any, Any], floor: dict[Any, Any] | None, others: dict[str, Any], t: Language
) -> str:
    """AUROC and the floor that counts most; chance where that one is not beaten, but chance is."""
    estimate, runs = rows.estimates(results)["auroc"], len(results.analysis.seeds)
    sentence = t.plural(
        "AUROC %(auroc)s in %(n)s run", "AUROC %(auroc)s (mean of %(n)s runs)", runs, auroc=_two(network["auroc"], t)
    )
    if floor is None or not floor["claim"]:
        low, high = (
            _two(estimate[end], t) for end in (("pooled_low", "pooled_high") if runs == 1 else ("low", "high"))
        )
        if (ends := t.interval(low, high)) != DASH:
            sentence += t(", 95 %% interval %(ends)s", ends=ends)
    if floor is None:
        return sentence
    parts = [sentence, _reaches(floor, t), _claim(floor, results, t)]
    chance = others.get("majority")
    if floor["claim"] != "better" and chance and chance["claim"] == "better":
        parts.append(t("it is better than chance by %(difference)s", difference=_difference(chance, "auroc", t)))
    return "; ".join(parts)


def _reaches(row: dict[Any, Any], t: Language) -> str:
    if not (used := _used(row)):
        return t("%(floor)s reaches %(value)s", floor=_name(row, t), value=_two(row["auroc"], t))
    names = t.listed([t.word("name", name) for name in used])
    return t.plural(
        "%(floor)s alone reaches %(value)s", "%(floor)s alone reach %(value)s", len(used), floor=names,
        value=_two(row["auroc"], t),
    )  # fmt: skip


def _beside(row: dict[Any, Any], results: Results, t: Language) -> str:
    """A floor of which no more can be said than this."""
    metric = _metric(row)
    value = t.share(row[metric]) if metric == "accuracy" else _two(row[metric], t)
    return f"{_name(row, t)} ({t(registry.METRICS[metric].label)} {value}): {_claim(row, results, t)}"


def _claim(row: dict[Any, Any], results: Results, t: Language) -> str:
    """What the interval of network minus floor supports."""
    metric = _metric(row)
    worse = row["claim"] == "worse"
    return t.word(
        "claim", row["claim"] or "none", runs=t.count(len(results.analysis.seeds)),
        difference=_difference(row, metric, t, signed=row["claim"] not in ("better", "worse"), turned=worse),
    )  # fmt: skip


def _difference(row: dict[Any, Any], metric: str, t: Language, signed: bool = False, turned: bool = False) -> str:
    """`0.25 (95 % interval 0.18 to 0.32)`; turned: floor minus network."""
    value, low, high = (row[f"{metric}_difference{end}"] for end in ("", "_low", "_high"))
    if turned:
        value, low, high = -value, -high, -low
    scale, digits = (100, 1) if metric == "accuracy" else (1, 2)
    ends = [abs(end) for end in (low, high) if not math.isnan(end)]
    digits += metric != "accuracy" and any(end < _TWO_DIGITS for end in ends)
    written = [(t.signed if signed else t.number)(scale * x, digits) for x in (value, low, high)]
    if not ends:
        return written[0]
    return t("%(value)s (95 %% interval %(low)s to %(high)s)", value=written[0], low=written[1], high=written[2])


def _metric(row: dict[Any, Any]) -> str:
    return "accuracy" if math.isnan(row["auroc"]) else "auroc"


def _used(row: dict[Any, Any]) -> list[str]:
    """Of view, sex, age and followup those that the floor has."""
    return [name for _, values in codes.parse(row["note"]) for name in values.get("used", "").split(",") if name]


def _two(value: float, t: Language) -> str:
    return t.number(value, 2)


def _name(row: dict[Any, Any], t: Language) -> str:
    return t.word("verdict_floor", row["floor"])


def _held_out(results: Results, t: Language) -> list[str]:
    """AUROC on held-out images, where there are any, with the interval over their patients."""
    row = rows.estimates(results, "test").get("auroc")
    if not row or math.isnan(row["mean"]):
        return []
    sentence = t("on held-out images this network's AUROC is %(auroc)s", auroc=_two(row["mean"], t))
    ends = t.interval(_two(row["pooled_low"], t), _two(row["pooled_high"], t))
    return [sentence if ends == DASH else sentence + t(", 95 %% interval %(ends)s", ends=ends)]


def _accuracy(results: Results, t: Language) -> str:
    """Accuracy with its interval, and the published number."""
    row = rows.estimates(results)["accuracy"]
    runs, published = len(results.analysis.seeds), results.task.published
    low, high = ("pooled_low", "pooled_high") if runs == 1 else ("low", "high")
    sentence = t(
        "at a threshold of %(half)s its accuracy on validation images is %(accuracy)s (95 %% interval %(low)s to "
        "%(high)s)",
        half=t.number(0.5, 1), accuracy=t.share(row["mean"]), low=t.percent(row[low]), high=t.percent(row[high]),
    )  # fmt: skip
    comparable = published and {"accuracy", "accuracy_sd"} <= set(published.percent)
    return f"{sentence}, {_place(published, row, t)}" if published and comparable else sentence


def _place(published: Published, row: Mapping[Any, Any], t: Language) -> str:
    """Where the published mean lies as seen from the interval."""
    accuracy, sd = published.percent["accuracy"], published.percent["accuracy_sd"]
    if row["high"] * 100 < accuracy:
        place = "below"
    elif row["low"] * 100 > accuracy:
        place = "above"
    else:
        place = "unknown" if math.isnan(row["low"]) else "near"
    return t.word("published", place, accuracy=t.count(accuracy), sd=t.count(sd))
