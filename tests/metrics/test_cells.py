"""Rows that stand for many images, against the images themselves."""

import jax
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrjax.metrics import bootstrap, cells, discrimination, registry
from cxrjax.metrics.bootstrap import Images


def make(n=3_000, patients=500):
    rng = np.random.default_rng(3)
    label, patient = rng.random(n) < 0.2, rng.integers(0, patients, n)
    score = 1 / (1 + np.exp(-(rng.normal(-1.5, 1, n) + 1.5 * label + rng.normal(0, 0.5, patients)[patient])))
    return Images(label.astype(int), score.astype(np.float32), patient)


def test_rows_count_every_image_of_every_patient_once():
    images = make()
    rows = cells.condense(*images, 64)
    np.testing.assert_array_equal(rows.images.sum(axis=0).A1, np.bincount(images.patient))
    size = rows.images.sum(axis=1).A1
    assert size @ rows.label == images.label.sum()
    assert size @ rows.score == pytest.approx(images.score.sum(), rel=1e-5)
    assert (size * rows.label)[rows.score > 0.5].sum() == images.label[images.score > 0.5].sum()
    assert roc_auc_score(rows.label, rows.score, sample_weight=size) == pytest.approx(
        roc_auc_score(images.label, images.score), abs=5e-4
    )


def test_further_rows_of_scores_stay_as_they_are():
    images = make(200)
    threshold = np.where(images.patient % 2, 0.25, 0.75)
    rows = cells.condense(images.label, np.stack([images.score, threshold]), images.patient, 8)
    assert set(rows.score[1]) == {np.float32(0.25), np.float32(0.75)}
    assert (rows.images @ (np.arange(rows.images.shape[1]) % 2))[rows.score[1] == 0.75].sum() == 0


def test_groups_are_left_out_and_draws_are_those_of_patients():
    every = cells.left_out_and_drawn((1, 2), 40, 20)
    np.testing.assert_array_equal(every[:, :20].T, cells.multiplicities(np.random.default_rng((1, 2)), 40, 20))
    np.testing.assert_array_equal(every[:, 20:-1], 1 - np.eye(40))
    assert (every[:, -1] == 1).all()
    groups = cells.left_out_and_drawn((1, 2), 1_100, 2)[:, 2:-1]
    assert (groups.shape[1], (groups == 0).sum(axis=1).max()) == (512, 1)


def test_intervals_over_cells_are_those_over_images():
    images = make()
    names = ("accuracy", "sensitivity", "auroc", "brier")
    evaluate = registry.Evaluation(tuple(registry.METRICS[name] for name in names))
    (exact,), (fast,) = (bootstrap.intervals(jax.random.key(0), evaluate, [images], 500, cells=k) for k in (None, 256))
    for name in names:
        assert fast[name].value == exact[name].value
        width = exact[name].high - exact[name].low
        assert fast[name][1:3] == pytest.approx(exact[name][1:3], abs=0.03 * width), name


def test_a_metric_that_is_undefined_stays_so():
    images = make(100)._replace(label=np.ones(100, int))
    evaluate = registry.Evaluation((registry.METRICS["auroc"],))
    assert np.isnan(bootstrap.intervals(jax.random.key(0), evaluate, [images], 50, cells=8)[0]["auroc"].value)
    assert np.isnan(float(discrimination.auroc(images.label, images.score, np.ones(100))))


def test_only_large_sets_are_condensed():
    assert (cells.cells_for(6_700), cells.cells_for(22_433)) == (None, 240)
