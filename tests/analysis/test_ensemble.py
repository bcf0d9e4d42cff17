"""The ensemble by hand, and its gain against a plain bootstrap with scikit-learn."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.metrics import accuracy_score, roc_auc_score

from cxrjax.analysis import ensemble, scores
from cxrjax.analysis.tables import TABLES
from cxrjax.base.numerics import new_key
from cxrjax.metrics import bootstrap, registry

PREVALENCE = 0.1


def four_images():
    """Two seeds, each wrong of one image; the ensemble is right of all."""
    odds = {3: [2.0, -1.0, -1.0, -2.0], 4: [1.0, 2.0, -1.0, 1.0]}
    parts = [
        pd.DataFrame(
            {
                "seed": seed,
                "image": list("dcba"),
                "patient": list("dcba"),
                "label": [1, 1, 0, 0],
                "score": expit(of_seed),
            }
        )
        for seed, of_seed in odds.items()
    ]
    return pd.concat([parts[0], parts[1][::-1]], ignore_index=True).assign(patient=lambda rows: rows["image"])


def table(predictions):
    scored = scores.score(predictions, {"chosen": pd.Series(0.5, index=predictions["seed"].unique())}, PREVALENCE)
    seeds = scores.of_all(scored, scores.auroc_intervals(new_key(0), [scored])[0])
    return ensemble.table(new_key(3), {"test": predictions}, {"test": seeds}, PREVALENCE)


def test_two_seeds_and_four_images():
    whole = ensemble.mean_log_odds(ensemble.images_of(four_images()).score)
    np.testing.assert_allclose(logit(np.asarray(whole)), [-0.5, -1, 0.5, 1.5], rtol=1e-5)  # images a to d
    rows = table(four_images()).set_index("metric")
    assert list(rows.index) == list(registry.METRICS) and set(rows["data"]) == {"test"}
    assert rows.loc["accuracy", ["single", "ensemble", "gain"]].tolist() == pytest.approx([0.75, 1, 0.25])
    # Seed 3: c ties with b and beats a; seed 4: d ties with a.
    assert rows.loc["auroc", ["single", "ensemble", "gain"]].tolist() == pytest.approx([0.875, 1, 0.125])
    assert np.isnan(rows.loc["auroc", "ensemble_low"]) and "end_of_range" in rows.loc["auroc", "undefined"]
    assert rows.loc["brier", "gain":"gain_high"].isna().all()


def test_one_network_does_not_decide_alone():
    """A score of exactly 0 or 1 has finite log odds."""
    whole = np.asarray(ensemble.mean_log_odds(np.array([[0, 1, 0.5], [1, 0, 0.5]], np.float32)))
    np.testing.assert_allclose(whole, 0.5, atol=0.02)


def test_gain_is_that_of_a_plain_bootstrap_by_patient(case):
    """The same draws; patients have several images. Of one run, and of two whose networks are one and three."""
    predictions = case.tables.external
    rows = table(predictions).set_index("metric")
    images = ensemble.images_of(predictions)
    compared = ensemble.compare(new_key(3), images, {"a": 1, "b": 3}).set_index(["scored_by", "metric"])
    odds = logit(images.score.astype(float))
    names, number = np.unique(images.patient, return_inverse=True)
    assert len(names) < len(number)
    seed = np.asarray(jax.random.key_data(new_key(3))).tolist()
    times = bootstrap.multiplicities(np.random.default_rng([*seed, 0]), len(names), 300)

    def figures(odds, weight):
        right = accuracy_score(images.label, odds > 0, sample_weight=weight)
        return np.array([roc_auc_score(images.label, odds, sample_weight=weight), right])

    def gains(weight):
        fewer = [np.mean([figures(of, weight) for of in odds], axis=0)]
        fewer += [figures(odds[0], weight), figures(odds[1:].mean(axis=0), weight)]
        return figures(odds.mean(axis=0), weight) - np.array(fewer)

    draws = np.array([gains(row[number]) for row in times])
    value = gains(np.ones(len(number)))
    for k, name in enumerate(("auroc", "accuracy")):
        told = [rows.loc[name], *(compared.loc[part, name] for part in ("single", "a", "b"))]
        for row, part in zip(told, (0, 0, 1, 2), strict=True):
            middle, half = value[part, k], 1.959964 * draws[:, part, k].std(ddof=1)
            assert row["gain"] == pytest.approx(middle, abs=1e-6)
            # 300 of the 2,000 draws: the SD's own error is some 4 %.
            assert [row["gain_low"], row["gain_high"]] == pytest.approx([middle - half, middle + half], abs=0.15 * half)
            assert row["undefined"] == ""
        whole = compared.loc["ensemble", name]
        ends = ["ensemble_low", "ensemble", "ensemble_high"]
        assert rows.loc[name, ends].tolist() == pytest.approx(whole[["low", "value", "high"]].tolist(), abs=1e-6)
        assert whole["low"] < whole["value"] < whole["high"] and np.isnan(whole["gain"])


def test_one_seed_or_no_set_is_no_ensemble(case):
    one = case.tables.external[case.tables.external["seed"] == 3]
    assert ensemble.table(new_key(0), {"external": one}, {}, PREVALENCE) is None
    assert ensemble.table(new_key(0), {}, {}, PREVALENCE) is None


def test_one_class_has_reasons():
    rows = table(four_images()[lambda t: t["label"] == 1]).set_index("metric")
    assert "no_negative_image" in rows.loc["auroc", "undefined"] and np.isnan(rows.loc["auroc", "gain"])
    assert list(rows.reset_index()[TABLES["ensemble"].columns].columns) == TABLES["ensemble"].columns
