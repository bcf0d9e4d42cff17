"""Decisions at every threshold against scikit-learn."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from cxrjax.analysis import operating

COUNTS = ["true_pos", "false_pos", "false_neg", "true_neg"]


def test_decisions_agree_with_scikit_learn(case, analysed):
    for data, table in (("internal", case.tables.predictions), ("external", case.tables.external)):
        for seed, own in table.groupby("seed"):
            rows = (analysed.operating["data"] == data) & (analysed.operating["seed"] == seed)
            found = analysed.operating[rows].set_index("threshold")[COUNTS]
            assert len(found) == 201
            for threshold in (0.0, 0.25, 0.5, 1.0):
                (tn, fp), (fn, tp) = confusion_matrix(own["label"], own["score"] > threshold, labels=[0, 1])
                assert tuple(found.loc[threshold]) == (tp, fp, fn, tn)


def test_a_score_at_the_threshold_is_not_above_it():
    """0.3 in float32 is not 0.3 in float64."""
    scores = np.array([0.3, 0.3, 0.5, 1.0], np.float32)
    table = pd.DataFrame({"seed": 0, "label": [1, 0, 1, 1], "score": scores})
    found = operating.table("internal", table).set_index("threshold")[COUNTS]
    assert list(found.loc[0.3]) == [2, 0, 1, 1]
    assert list(found.loc[0.295]) == [3, 1, 0, 0]
    assert list(found.loc[0.5]) == [1, 0, 2, 1]
    assert list(found.loc[1.0]) == [0, 0, 3, 1]


def test_a_set_of_one_class_has_counts_too():
    table = pd.DataFrame({"seed": [0, 0, 1], "label": 0, "score": [0.2, 0.7, 0.6]})
    found = operating.table("external", table)
    assert (found["data"] == "external").all()
    assert list(found.groupby("seed").size()) == [201, 201]
    assert (found["true_pos"] + found["false_neg"] == 0).all()
