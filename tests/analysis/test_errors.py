"""The most wrong images, by hand."""

import numpy as np
import pandas as pd

from cxrjax.analysis import errors

IMAGES = pd.DataFrame(
    {
        "image": list("abcdef"), "patient": list("112345"), "labels": ["Pneumonia"] * 3 + ["No Finding"] * 3,
        "view": "PA", "age": 50.0, "sex": "F", "followup": 0,
    }
)  # fmt: skip


def test_wrong_images_by_hand():
    """b is right in one seed of two and right on average; e is wrong by as much as a, and behind it by name."""
    rows = [(0, "a", 0.2), (1, "a", 0.4), (0, "b", 0.4), (1, "b", 0.8), (0, "c", 0.1), (1, "d", 0.6), (0, "e", 0.7)]
    rows += [(1, "f", 0.5)]
    predictions = pd.DataFrame(rows, columns=["seed", "image", "score"])
    predictions = predictions.merge(IMAGES[["image", "patient"]], on="image")
    predictions["label"] = predictions["image"].isin(list("abc")).astype(int)
    found = errors.table(predictions, IMAGES)
    assert list(found["image"]) == ["c", "a", "e", "d"]
    assert list(found["kind"]) == ["false negative"] * 2 + ["false positive"] * 2
    np.testing.assert_allclose(found["score"], [0.1, 0.3, 0.7, 0.6])
    assert list(found["seeds"]) == [1, 2, 1, 1]
    assert list(found["patient"]) == ["2", "1", "4", "3"]
    assert list(found["labels"]) == ["Pneumonia"] * 2 + ["No Finding"] * 2


def test_an_error_is_an_error_of_the_mean(case, analysed):
    means = case.tables.predictions.groupby("image")["score"].mean()
    label = case.tables.predictions.groupby("image")["label"].first()
    assert set(analysed.errors["image"]) == set(means.index[(means > 0.5) != (label == 1)])
    assert (analysed.errors["score"] - analysed.errors["label"]).abs().is_monotonic_decreasing


def test_without_a_mistake_the_table_is_empty():
    predictions = pd.DataFrame({"seed": [0], "image": ["a"], "patient": ["1"], "label": [1], "score": [0.9]})
    assert errors.table(predictions, IMAGES).empty
