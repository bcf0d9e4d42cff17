"""The report's first sentence, from floors that are beaten, not clearly beaten, or above the network."""

import dataclasses

import numpy as np
import pytest

from cxrjax.base import tasks
from cxrjax.report.language import ENGLISH, language
from cxrjax.report.sections.verdict import answer, verdict
from tests.report import report_case

BEATEN = {"majority": 0.2, "film": 0.1, "metadata": 0.1, "probe": 0.1, "shuffled_labels": 0.2, "random_trunk": 0.1}


def with_floors(half=0.05, few=False, **below):
    """Results whose floors lie so far below the network in AUROC (± half), above it if negative, missing if None."""
    results = report_case.results()
    floors = results.analysis.floors.set_index("floor")
    network = floors.at["network", "auroc"] = 0.7
    for name, difference in (BEATEN | below).items():
        floors.loc[name, ["available", "claim"]] = difference is not None, ""
        if difference is not None:
            low, high = difference - half, difference + half
            undecided = "few_runs" if few else "undecided"
            floors.at[name, "claim"] = "better" if low > 0 else "worse" if high < 0 else undecided
            values = [network - difference, difference, low, high]
            floors.loc[name, ["auroc", "auroc_difference", "auroc_difference_low", "auroc_difference_high"]] = values
    return results._replace(analysis=results.analysis._replace(floors=floors.reset_index()))


def with_accuracy(results, mean, low, high):
    metrics = results.analysis.metrics.copy()
    row = (metrics["data"] == "internal") & (metrics["rule"] == "fixed") & (metrics["metric"] == "accuracy")
    metrics.loc[row, ["mean", "low", "high"]] = mean, low, high
    return results._replace(analysis=results.analysis._replace(metrics=metrics))


@pytest.mark.parametrize(
    ("floors", "sentence"),
    [
        ({}, "Yes, better than view, sex and age alone."),
        ({"film": None}, "Yes, better than metadata alone."),
        ({"film": None, "metadata": None}, "Yes, better than chance."),
        (
            {"probe": 0.02},
            "Yes, better than view, sex and age alone, but not shown to be better than a linear probe of the same "
            "frozen layers (AUROC 0.680 against 0.700).",
        ),
        (
            {"film": None, "metadata": None, "probe": -0.1},
            "Yes, better than chance, but worse than a linear probe of the same frozen layers (AUROC 0.800 against "
            "0.700).",
        ),
        ({"film": -0.1, "probe": -0.1}, "No: the network is worse than view, sex and age alone."),
        ({"film": 0.02}, "Partly: better than chance, but not shown to be better than view, sex and age alone."),
        ({"film": 0.02, "majority": 0.02}, "Not shown: the network may be no better than view, sex and age alone."),
        ({"film": -0.1}, "No: the network is worse than view, sex and age alone."),
        (
            {"film": 0.02, "few": True},
            "Not known: 4 runs are too few to tell whether the network is better than view, sex and age alone.",
        ),
    ],
)
def test_the_question_is_answered_in_one_sentence(floors, sentence):
    assert answer(with_floors(**floors), ENGLISH) == sentence


@pytest.mark.parametrize(
    ("low", "high", "place"),
    [
        (0.65, 0.8, "below the poster's 83 ± 7 %"),
        (0.84, 0.9, "above the poster's 83 ± 7 %"),
        (0.7, 0.84, "not clearly different from the poster's 83 ± 7 %"),
    ],
)
def test_all_floors_are_beaten(low, high, place):
    assert verdict(with_accuracy(with_floors(), 0.752, low, high), ENGLISH) == (
        "AUROC 0.70 (mean of 4 runs); view, sex and age alone reach 0.60; this network is better by 0.10 (95 % "
        "interval 0.05 to 0.15). Together with the follow-up number, which cannot be seen on a radiograph, they reach "
        "0.60; this network is better by 0.10 (95 % interval 0.05 to 0.15). It is also better than a logistic "
        "regression on the same frozen layers, a network trained on shuffled labels and a network on a trunk of random "
        "weights. At a threshold of 0.5 its accuracy on validation images is 75.2 % (95 % "
        f"interval {100 * low:.1f} to {100 * high:.1f}), {place}."
    )


def test_a_floor_above_the_network_is_told_with_turned_signs():
    sentences = verdict(with_floors(metadata=-0.1, random_trunk=-0.2), ENGLISH).split(". ")
    assert sentences[1] == (
        "Together with the follow-up number, which cannot be seen on a radiograph, they reach 0.80; this network is "
        "worse by 0.10 (95 % interval 0.05 to 0.15)"
    )
    assert sentences[2] == (
        "A network on a trunk of random weights (AUROC 0.90): this network is worse by 0.20 (95 % interval 0.15 to "
        "0.25)"
    )


def test_chance_is_what_remains_where_a_film_tells_as_much():
    text = verdict(with_floors(film=0.02), ENGLISH)
    assert text.startswith(
        "AUROC 0.70 (mean of 4 runs); view, sex and age alone reach 0.68; this network is not shown to be better: "
        "difference +0.02 (95 % interval −0.03 to +0.07); it is better than chance by 0.20 (95 % interval 0.15 "
        "to 0.25). Together with "
    )
    assert "chance" not in verdict(with_floors(film=0.02, majority=0.02), ENGLISH)
    assert "chance" not in verdict(with_floors(), ENGLISH)


def test_few_runs_are_no_failure():
    text = verdict(with_floors(half=0.12, few=True, film=0.1, random_trunk=None), ENGLISH)
    assert (
        "; 4 runs are too few to tell whether this network is better: difference +0.10 (95 % interval −0.02 to +0.22);"
        in text
    )
    assert "not shown" not in text


def test_an_end_that_would_read_as_zero_has_three_digits():
    assert "better by 0.100 (95 % interval 0.003 to 0.197)" in verdict(with_floors(half=0.097, film=0.1), ENGLISH)


def test_without_metadata_of_a_film_the_rest_takes_its_place():
    results = with_floors(film=None)
    assert verdict(results, ENGLISH).startswith(
        "AUROC 0.70 (mean of 4 runs); view, sex, age and follow-up number alone reach 0.60; this network is better by"
    )
    results = with_floors(film=None, metadata=None)
    assert verdict(results, ENGLISH).startswith(
        "AUROC 0.70 (mean of 4 runs); always calling the more frequent class reaches 0.50; this network is better by"
    )
    assert "follow-up number" not in verdict(results, ENGLISH)


def test_follow_up_numbers_that_do_not_vary_are_no_second_sentence():
    results = with_floors()
    floors = results.analysis.floors.replace({"note": {"metadata used=view,sex,age,followup": "metadata used=view"}})
    text = verdict(results._replace(analysis=results.analysis._replace(floors=floors)), ENGLISH)
    assert "follow-up" not in text and text.count("0.60") == 1


def test_one_run_has_its_patients_interval():
    text = verdict(report_case.bare(), ENGLISH)
    assert text.startswith("AUROC 0.")
    assert answer(report_case.bare(), ENGLISH) == (
        "On drawn phantoms, not on patients: not known: without an interval the network cannot be compared with chance."
    )
    assert " in 1 run; always calling the more frequent class reaches 0.50; difference +0." in text
    assert "without an interval. At a threshold of 0.5 its accuracy on " in text
    assert text.endswith(", compared with the poster's 83 ± 7 %.")
    metrics = report_case.bare().analysis.metrics.assign(pooled_low=0.61, pooled_high=0.79)
    analysis = report_case.bare().analysis._replace(metrics=metrics)
    text = verdict(report_case.bare()._replace(analysis=analysis), ENGLISH)
    assert " in 1 run, 95 % interval 0.61 to 0.79; always" in text


def test_controls_say_so_and_a_task_without_published_numbers_is_compared_with_none(monkeypatch):
    results = with_floors()
    config = dataclasses.replace(results.config, control="shuffled_labels")
    unpublished = dataclasses.replace(tasks.get(config.task), published=None)
    monkeypatch.setitem(tasks.TASKS, config.task, unpublished)
    text = answer(results._replace(config=config), ENGLISH)
    assert text == "As a control, trained on shuffled labels: yes, better than view, sex and age alone."
    matched = dataclasses.replace(config, control="none", match="view,followup")
    text = answer(results._replace(config=matched), ENGLISH)
    assert text == "On images matched by view and follow-up number: yes, better than view, sex and age alone."
    assert "poster" not in verdict(results._replace(config=matched), ENGLISH)


def test_in_spanish():
    assert answer(with_floors(), language("es")) == "Sí, mejor que proyección, sexo y edad por sí solos."
    results = with_accuracy(with_floors(metadata=-0.1), 0.752, 0.65, 0.8)
    assert verdict(results, language("es")).startswith(
        "AUROC 0,70 (media de 4 ejecuciones); proyección, sexo y edad, por sí solos, alcanzan 0,60; esta red es mejor "
        "en 0,10 (intervalo del 95 %: 0,05 a 0,15). Junto con el número de control, que no se ve en la radiografía, "
        "alcanzan 0,80; esta red es peor en 0,10 (intervalo del 95 %: 0,05 a 0,15). También es mejor que "
    )


def test_without_an_auroc_floors_are_judged_by_accuracy():
    results = with_floors()
    floors = results.analysis.floors.copy()
    floors.loc[floors["floor"] == "network", "auroc"] = np.nan
    row = floors["floor"] == "majority"
    floors.loc[row, ["auroc", "claim"]] = np.nan, "undecided"
    columns = ["accuracy", "accuracy_difference", "accuracy_difference_low", "accuracy_difference_high"]
    floors.loc[row, columns] = 0.6, 0.01, -0.02, 0.04
    text = verdict(results._replace(analysis=results.analysis._replace(floors=floors)), ENGLISH)
    assert text.startswith("AUROC is undefined in these images. ")
    undefined = results._replace(analysis=results.analysis._replace(floors=floors))
    assert answer(undefined, ENGLISH) == "Not known: these images give no AUROC in every run."
    assert (
        "Always calling the more frequent class (accuracy 60.0 %): this network is not shown to be better: difference "
        "+1.0 (95 % interval −2.0 to +4.0)." in text
    )


def test_lists():
    assert [ENGLISH.listed(list(parts)) for parts in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
