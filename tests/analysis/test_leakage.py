"""Two splits of the same seeds, by hand."""

import numpy as np
import pytest

from cxrjax.analysis import leakage
from cxrjax.metrics import resampled_t


def test_every_figure_of_both_splits(case, analysed):
    found = analysed.leakage.set_index("figure")
    assert list(found.index) == list(leakage.FIGURES)
    by_image = case.arms["split_by_image"]
    accuracies = [
        np.array([((own["score"] > 0.5) == own["label"]).mean() for _, own in t.predictions.groupby("seed")])
        for t in (case.tables, by_image)
    ]
    n_train, n_val = (np.mean([case.tables.seeds[n].mean(), by_image.seeds[n].mean()]) for n in ("n_train", "n_val"))
    test = resampled_t.compare_runs(*accuracies, n_train, n_val)
    row = found.loc["accuracy"]
    assert (row["patient"], row["image"]) == pytest.approx(tuple(a.mean() for a in accuracies))
    assert tuple(row[["difference", "low", "high", "p"]]) == pytest.approx((*test[:3], test.p))


def test_the_contaminated_share_is_a_fact_of_the_splits(case, analysed):
    row = analysed.leakage.set_index("figure").loc["contaminated_share"]
    share = case.arms["split_by_image"].seeds["contaminated_share"].mean()
    assert (row["patient"], row["image"], row["difference"]) == pytest.approx((0, share, share))
    assert share > 0.2
    assert row[["low", "high", "p"]].isna().all()


def test_other_seeds_are_refused(case):
    fewer = case.arms["split_by_image"]
    fewer = fewer._replace(
        seeds=fewer.seeds[1:], predictions=fewer.predictions[fewer.predictions["seed"] > case.config.first_seed]
    )
    with pytest.raises(ValueError, match=r"seeds \[3, 4, 5, 6\], got \[4, 5, 6\]"):
        leakage.table(case.tables, fewer)
