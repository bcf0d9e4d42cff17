"""The answer in words, from floors that are beaten, not clearly beaten, or above the network."""

import dataclasses

import numpy as np
import pytest

from cxrjax.base import tasks
from cxrjax.report.language import ENGLISH, language
from cxrjax.report.sections.comparisons import verdict
from tests.report import report_case


def with_floors(**beaten_by):
    """Results whose floors lie so far below the network in AUROC (± 0.05), above it if negative, missing if None."""
    found = report_case.results()
    floors = found.analysis.floors.set_index("floor")
    network = floors.at["network", "auroc"] = 0.7
    for name, difference in beaten_by.items():
        floors.loc[name, ["available", "beaten"]] = difference is not None, None
        if difference is not None:
            floors.at[name, "beaten"] = difference > 0.05
            values = [network - difference, difference, difference - 0.05, difference + 0.05]
            floors.loc[name, ["auroc", "auroc_difference", "auroc_difference_low", "auroc_difference_high"]] = values
    return found._replace(analysis=found.analysis._replace(floors=floors.reset_index()))


def with_accuracy(found, mean, low, high):
    figures = found.analysis.metrics.copy()
    row = (figures["data"] == "internal") & (figures["rule"] == "fixed") & (figures["metric"] == "accuracy")
    figures.loc[row, ["mean", "low", "high"]] = mean, low, high
    return found._replace(analysis=found.analysis._replace(metrics=figures))


ALL = {"majority": 0.2, "metadata": 0.1, "shuffled_labels": 0.2, "random_trunk": 0.1}


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.65, 0.8, "below the poster's 83 ± 7 %"),
        (0.84, 0.9, "above the poster's 83 ± 7 %"),
        (0.7, 0.84, "not clearly different from the poster's 83 ± 7 %"),
    ],
)
def test_all_floors_are_beaten(low, high, told):
    found = verdict(with_accuracy(with_floors(**ALL), 0.752, low, high), ENGLISH)
    assert found == (
        "Over 4 runs the network classifies 75.2 % of the validation images correctly (95 % interval "
        f"{100 * low:.1f} to {100 * high:.1f}), {told}; it beats always calling the more frequent class, metadata "
        "alone (view, sex, age, follow-up number), a network trained on shuffled labels and a network on a trunk of "
        "random weights."
    )


def test_a_floor_above_the_network_comes_first():
    found = verdict(with_floors(**ALL | {"metadata": -0.1}), ENGLISH)
    assert found.startswith(
        "The network does worse than metadata alone (view, sex, age, follow-up number) (AUROC 0.800 against 0.700, "
        "network minus floor −0.100, 95 % interval −0.150 to −0.050). Over 4 runs the network classifies "
    )
    assert "beats" not in found


def test_a_floor_that_is_not_clearly_beaten_comes_first():
    found = verdict(with_floors(**ALL | {"metadata": -0.1, "random_trunk": 0.01}), ENGLISH)
    first, second = found.split(". Over ")
    assert first.startswith("The network does worse than metadata alone")
    assert "; the network is not shown to be better than a network on a trunk of random weights (AUROC 0.690" in first
    assert "classifies" in second


def test_floors_that_were_not_trained_are_named():
    found = verdict(with_floors(**ALL | {"shuffled_labels": None, "random_trunk": None}), ENGLISH)
    assert found.endswith(
        "follow-up number) (there is no comparison with a network trained on shuffled labels and a network on a trunk "
        "of random weights)."
    )


def test_one_run_beats_nothing():
    found = verdict(report_case.bare(), ENGLISH)
    assert found.startswith("On drawn phantoms, not on patients, in 1 run the network classifies ")
    assert found.endswith(
        ", where the poster has 83 ± 7 %; from these runs it cannot be told whether it beats its floors."
    )


def test_controls_say_so_and_a_task_without_published_numbers_is_compared_with_none(monkeypatch):
    found = with_floors(**ALL)
    config = dataclasses.replace(found.config, control="shuffled_labels")
    unpublished = dataclasses.replace(tasks.get(config.task), published=None)
    monkeypatch.setitem(tasks.TASKS, config.task, unpublished)
    told = verdict(found._replace(config=config), ENGLISH)
    assert told.startswith("As a control, trained on shuffled labels, over 4 runs ")
    assert "poster" not in told


def test_in_spanish():
    found = with_accuracy(with_floors(**ALL | {"metadata": -0.1}), 0.752, 0.65, 0.8)
    assert verdict(found, language("es")) == (
        "La red es peor que estas referencias: metadatos solos (proyección, sexo, edad, número de control) (AUROC "
        "0,800 frente a 0,700 de la red; red menos referencia −0,100, intervalo del 95 %: −0,150 a −0,050). En 4 "
        "corridas la red clasifica bien el 75,2 % de las imágenes de validación (intervalo del 95 %: 65,0 a 80,0), por "
        "debajo del 83 ± 7 % del póster."
    )


def test_lists():
    assert [ENGLISH.listed(list(parts)) for parts in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_a_floor_without_auroc_is_judged_by_accuracy():
    found = with_floors(**ALL)
    floors = found.analysis.floors.copy()
    row = floors["floor"] == "majority"
    floors.loc[row, ["auroc", "beaten"]] = np.nan, False
    floors.loc[row, ["accuracy", "accuracy_difference", "accuracy_difference_low", "accuracy_difference_high"]] = (
        0.6, 0.01, -0.02, 0.04,
    )  # fmt: skip
    told = verdict(found._replace(analysis=found.analysis._replace(floors=floors)), ENGLISH)
    assert "better than always calling the more frequent class (accuracy 0.600 against" in told
