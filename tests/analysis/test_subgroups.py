"""Groups of images, and metrics in each against scikit-learn."""

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import recall_score, roc_auc_score

from cxrjax.analysis import subgroups
from cxrjax.base import codes


def made(rows, **images):
    """Of rows (seed, image, patient, label, score), at half a second a program the shape of `case`'s."""
    predictions = pd.DataFrame(rows, columns=["seed", "image", "patient", "label", "score"])
    known = predictions.drop_duplicates("image")[["image", "patient"]].reset_index(drop=True)
    known = known.assign(view="", sex="", age=50.0).assign(**images)
    return subgroups.table(jax.random.key(0), predictions, known)


def many(number, label, view="", start=0):
    return [
        (0, f"{view}{start + i}", f"{start + i}", label, 0.3 + 0.4 * label + 0.01 * (i % 30)) for i in range(number)
    ]


def test_metrics_of_a_group_agree_with_scikit_learn(case, analysed):
    joined = case.tables.predictions.merge(case.tables.images, on=["image", "patient"])
    for variable, group in (("view", "AP"), ("sex", "F")):
        own = joined[joined[variable] == group]
        row = analysed.subgroups.set_index(["variable", "group"]).loc[(variable, group)]
        called = own["score"] > 0.5
        assert row["accuracy"] == pytest.approx((called == own["label"]).mean())
        assert row["sensitivity"] == pytest.approx(recall_score(own["label"], called))
        assert row["specificity"] == pytest.approx(recall_score(1 - own["label"], ~called))
        assert row["auroc"] == pytest.approx(roc_auc_score(own["label"], own["score"]), rel=1e-5)
        assert row["auroc_low"] < row["auroc"] < row["auroc_high"]
        once = own.drop_duplicates("image")
        counts = (len(once), once["patient"].nunique(), once["label"].sum())
        assert tuple(row[["images", "patients", "positives"]]) == counts
        assert len(once) < len(own)


def test_each_variable_counts_each_image_once(case, analysed):
    sums = analysed.subgroups.groupby("variable")[["images", "positives"]].sum()
    once = case.tables.predictions.drop_duplicates("image")
    assert list(sums.index) == ["age", "images", "sex", "view"]
    assert (sums["images"] == len(once)).all()
    assert (sums["positives"] == once["label"].sum()).all()


def test_images_of_a_patient_are_counted_in_all_that_take_part(case, analysed):
    number = case.tables.images["patient"].value_counts()
    single = set(number[number == 1].index)
    row = analysed.subgroups.set_index(["variable", "group"]).loc[("images", "1")]
    once = case.tables.predictions.drop_duplicates("image")
    assert row["images"] == row["patients"] == once["patient"].isin(single).sum()


@pytest.mark.parametrize(
    ("positives", "negatives", "patients", "small"),
    [(5, 15, 20, False), (4, 16, 20, True), (16, 4, 20, True), (10, 30, 19, True), (10, 30, 20, False)],
)
def test_a_small_group_is_one_of_few_patients_or_of_few_images_of_a_class(positives, negatives, patients, small):
    labels = [1] * positives + [0] * negatives
    rows = [(0, f"{i}", f"{i % patients}", label, 0.5) for i, label in enumerate(labels)]
    found = subgroups._counts(pd.DataFrame(rows * 2, columns=["seed", "image", "patient", "label", "score"]))
    assert found == {"images": len(labels), "patients": patients, "positives": positives, "small": small}


def test_a_variable_of_one_group_is_left_out(analysed):
    rows = many(10, 1, "PA") + many(10, 0, "PA", 10)
    found = made(rows, view="PA")
    assert found.empty
    assert list(found.columns) == list(analysed.subgroups.columns)


def test_what_a_group_lacks_is_told():
    rows = many(6, 1, "AP") + many(6, 0, "PA", 6)
    found = made(rows, view=["AP"] * 6 + ["PA"] * 6).set_index("group")
    for group, lacks, defined in (("AP", "negative", "sensitivity"), ("PA", "positive", "specificity")):
        reasons = {values["metric"]: code for code, values in codes.parse(found.loc[group, "undefined"])}
        of_both = {"accuracy": "same_in_every_draw", "auroc": f"no_{lacks}_image"}
        other = {"sensitivity": "specificity", "specificity": "sensitivity"}[defined]
        assert reasons == of_both | {defined: "same_in_every_draw", other: f"no_{lacks}_image"}
    assert found[["auroc", "auroc_low"]].isna().all(axis=None)
    assert found["small"].all()


@pytest.mark.parametrize(
    ("band", "values", "expected"),
    [
        (subgroups.age_band, [0, 17.9, 18, 80, 120, 121, -1, np.nan],
         ["0-17", "0-17", "18-39", "80+", "80+", "outside 0-120", "outside 0-120", "unknown"]),
        (subgroups.followup_band, [-1, 0, 1, 5, 6, 21, 183],
         ["0 or unknown"] * 2 + ["1-5"] * 2 + ["6-20", "21+", "21+"]),
        (subgroups.images_band, [1, 2, 3, 5, 6, 11, 184], ["1", "2", "3-5", "3-5", "6-10", "11+", "11+"]),
        (subgroups.named, ["PA", "", "AP"], ["PA", "unknown", "AP"]),
    ],
)  # fmt: skip
def test_bands_by_hand(band, values, expected):
    assert band(pd.Series(values)).tolist() == expected


def test_text_is_in_order_and_the_unknown_last():
    assert list(subgroups.named(pd.Series(["z", "", "a"])).cat.categories) == ["a", "z", "unknown"]


def test_possible_ages():
    found = subgroups.possible_age(pd.Series([-1, 0, 120, 412, np.nan]))
    np.testing.assert_array_equal(found, [np.nan, 0, 120, np.nan, np.nan])
