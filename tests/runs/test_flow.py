"""Every stage is the one before less what is excluded between them."""

import dataclasses

import numpy as np
import pytest

from cxrjax.base import tasks
from cxrjax.data import cohort
from cxrjax.runs import tables
from cxrjax.runs.draws import Cohorts
from cxrjax.storage.store import About, label_counts
from tests.analysis import run_tables

COUNTS = ["images", "positives", "negatives"]
ORDER = [
    "listed", "not_present", "unreadable", "unlabelled", "other_view", "other_class", "eligible", "held_out",
    "unmatched", "not_drawn", "drawn", "train_excluded", "train", "val",
]  # fmt: skip


@pytest.fixture(scope="module")
def table():
    """With images without a label and of an unknown view."""
    found = run_tables.data(100)
    found.loc[[3, 50], "labels"] = ""
    found.loc[[5, 60, 61], "view"] = ""
    return found


def made(table, task="p_vs_nf", view="all", negatives="auto", patients=None, bad=(), missing=None, match="", held=None):
    """The flow of three runs; `patients`: only so many of training stay, `missing`: label -> images not there, `held`:
    patients held out."""
    config = dataclasses.replace(run_tables.CONFIG, task=task, view=view, negatives=negatives, match=match)
    rest, test, by = table, np.zeros(0, int), tuple(filter(None, match.split(",")))
    if held:
        rest, of_test = cohort.hold_out(table, cohort.eligible(table, tasks.get(task), view), np.array(held))
        test = of_test.index
    cohorts = [cohort.draw(rest, tasks.get(task), seed, negatives, view, by) for seed in range(3)]
    splits = [cohort.split(c, seed) for seed, c in enumerate(cohorts)]
    if patients:
        splits = [
            s._replace(train=s.train[np.isin(c.patient[s.train], np.unique(c.patient[s.train])[:patients])])
            for c, s in zip(cohorts, splits, strict=True)
        ]
    listed = label_counts(table)
    for label, number in (missing or {}).items():
        listed[label] = listed.get(label, 0) + number
    about = About("somewhere", listed, {}, dict.fromkeys(bad, "is empty"))
    return (
        tables.flow(config, about, table, Cohorts(range(3), cohorts, splits, test)).set_index("stage"),
        cohorts,
        splits,
    )


SETTINGS = [
    {},
    {"task": "p_vs_np"},
    {"view": "AP", "negatives": "20"},
    {"task": "p_vs_np", "view": "PA", "negatives": "30", "patients": 15},
    {"missing": {"Pneumonia": 7, "No Finding": 2, "Mass": 3}},
    {"match": "view,sex"},
    {"match": "sex", "held": ["00001", "00002", "00050"]},
    {"missing": {"Edema|Pneumonia": 1, "No Finding": 2}, "bad": ("x", "y", "z")},
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_numbers_add_up(table, setting):
    found, cohorts, splits = made(table, **setting)
    assert list(found.index) == ORDER
    assert list(found.index[found["excluded"]]) == list(tables.EXCLUDED)
    left = None
    for stage, row in found.iterrows():
        if row["excluded"]:
            left = left - row[COUNTS]
        elif stage == "train":
            assert list(row[COUNTS] + found.loc["val", COUNTS]) == pytest.approx(list(left))
        elif stage != "val":
            assert left is None or list(row[COUNTS]) == pytest.approx(list(left))
            left = row[COUNTS]
    for stage, sizes in (
        ("drawn", [len(c.index) for c in cohorts]),
        ("train", [len(s.train) for s in splits]),
        ("val", [len(s.val) for s in splits]),
    ):
        assert found.loc[stage, "images"] == pytest.approx(np.mean(sizes))
    positives = np.mean([c.label[s.val].sum() for c, s in zip(cohorts, splits, strict=True)])
    assert found.loc["val", "positives"] == pytest.approx(positives)


def test_stages_by_hand(table):
    found, _, _ = made(table, view="AP", missing={"Edema|Pneumonia": 4, "Effusion": 5})
    assert found.loc["not_present", COUNTS].tolist() == [9, 4, 0]
    assert np.isnan(found.loc["not_present", "patients"])
    assert found.loc["unreadable"].tolist() == [True, 0, 0, 0, 0]
    assert found.loc["unlabelled", COUNTS].tolist() == [2, 0, 0]
    labelled = table[table["labels"] != ""]
    other = labelled[labelled["view"] != "AP"]
    pneumonia = other["labels"].str.contains("Pneumonia").sum()
    assert found.loc["other_view"].tolist() == [
        True, len(other), pneumonia, (other["labels"] == "No Finding").sum(), other["patient"].nunique()
    ]  # fmt: skip
    assert found.loc["other_class", "images"] == ((labelled["view"] == "AP") & (labelled["labels"] == "Effusion")).sum()


def test_what_is_held_out_and_what_has_no_match(table):
    held = list(table["patient"][table["labels"] == "Pneumonia"].unique()[:5])
    found, cohorts, _ = made(table, match="view", held=held)
    of_class = table["labels"].str.contains("Pneumonia") | (table["labels"] == "No Finding")
    assert found.loc["held_out", "images"] == (table["patient"].isin(held) & of_class).sum()
    assert found.loc["held_out", "patients"] == len(held)
    assert found.loc["unmatched", "images"] > 0 and found.loc["not_drawn", "images"] == 0
    assert found.loc["drawn", "positives"] == found.loc["drawn", "negatives"] == cohorts[0].label.sum()


def test_patients_who_are_left_out_are_counted(table):
    found, _, _ = made(table, patients=10)
    assert found.loc["train", "patients"] == 10
    whole, _, _ = made(table)
    assert found.loc["train_excluded", "patients"] == pytest.approx(whole.loc["train", "patients"] - 10)
    assert found.loc["val"].equals(whole.loc["val"])


def test_the_class_of_a_bad_image_is_told_only_where_it_is_known(table):
    """Three listed images are not there; their labels are known, which of them is bad is not."""
    missing = {"Pneumonia": 2, "No Finding": 1}
    found, _, _ = made(table, missing=missing, bad=("x", "y", "z"))
    assert found.loc["unreadable", COUNTS].tolist() == [3, 2, 1]
    assert found.loc["not_present", COUNTS].tolist() == [0, 0, 0]
    found, _, _ = made(table, missing=missing, bad=("x",))
    assert found.loc["not_present", "images"] == 2 and found.loc["unreadable", "images"] == 1
    assert found.loc[["not_present", "unreadable"], ["positives", "negatives"]].isna().all(axis=None)


def test_a_source_without_a_table_lists_what_it_has(table):
    config = run_tables.CONFIG
    drawn = cohort.draw(table, tasks.get("p_vs_nf"), 0)
    split = cohort.split(drawn, 0)
    runs = Cohorts(range(1), [drawn], [split])
    for bad in ({}, {"x": "is empty"}):
        found = tables.flow(config, About("x", {}, {}, bad), table, runs).set_index("stage")
        assert found.loc["listed", "images"] == len(table) + len(bad)
        assert found.loc["not_present", "images"] == 0
        assert found.loc["unreadable", "images"] == len(bad)


def test_patients_are_not_counted_where_some_are_unknown(table):
    flow, _, _ = made(table.assign(patient=table["patient"].where(table["image"] != table["image"][3], "")))
    assert np.isnan(flow.loc[["unlabelled", "other_view"], "patients"].to_numpy(float)).tolist() == [True, False]
