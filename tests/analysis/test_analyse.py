"""The whole analysis: what the interface promises, on runs with and without everything."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import analyse, comparison
from cxrjax.analysis.tables import Analysis
from cxrjax.metrics import registry
from tests.analysis import run_tables


def test_every_promised_column_is_there(analysed):
    """`tables.Analysis` names them, or the kinds of them."""
    promised = {
        "metrics": "data rule metric mean sd low high pooled pooled_low pooled_high undefined",
        "floors": "floor available note accuracy accuracy_sd auroc auroc_sd accuracy_difference "
        "accuracy_difference_low accuracy_difference_high accuracy_p auroc_difference auroc_difference_low "
        "auroc_difference_high auroc_p beaten",
        "leakage": "metric patient image difference low high p",
        "subgroups": "variable group images patients positives small accuracy accuracy_low accuracy_high sensitivity "
        "sensitivity_low sensitivity_high specificity specificity_low specificity_high auroc auroc_low auroc_high "
        "undefined",
        "operating": "data seed threshold true_pos false_pos false_neg true_neg",
        "calibration": "data bin_low bin_high images patients score positives low high",
        "errors": "kind image patient labels view age sex label score seeds",
    }
    for name, columns in promised.items():
        assert list(getattr(analysed, name).columns) == columns.split(), name
    assert set(promised) | {"seeds", "external_seeds"} == set(Analysis._fields)


def test_it_is_deterministic(case, analysed):
    again = analyse.analyse(*case)
    for name in Analysis._fields:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(analysed, name))


def specificity_at_95(label, score, weight):
    """Specificity at the highest threshold that finds 95 % of the positives; NaN without either class."""
    at_least = score[None, :] >= score[:, None]  # [threshold, image]; tied images are called together
    positives, negatives = weight * (label == 1), weight * (label == 0)
    finds = at_least @ positives >= 0.95 * positives.sum()
    called = jnp.min(jnp.where(finds & (positives > 0), at_least @ negatives, jnp.inf))
    return jnp.where((positives.sum() > 0) & (negatives.sum() > 0), 1 - called / negatives.sum(), jnp.nan)


def test_a_metric_registered_from_outside_is_in_every_table(monkeypatch):
    """One row, and nothing else; with few others, since programs are compiled anew."""
    few = {name: registry.METRICS[name] for name in ("accuracy", "sensitivity", "specificity", "auroc")}
    monkeypatch.setattr(registry, "METRICS", few)
    tables = frozenset({registry.MAIN, registry.SUBGROUPS, registry.FLOORS})
    undefined = ("no_positive_image", "no_negative_image")
    label = "specificity at 95 % sensitivity"
    registry.register(
        registry.Metric("specificity_95", specificity_at_95, label, "%", undefined=undefined, tables=tables)
    )
    case = run_tables.small_case()
    found = analyse.analyse(*case)
    rows = found.metrics.set_index(["rule", "metric"])
    for seed, value in zip(found.seeds["seed"], found.seeds["specificity_95"], strict=True):
        images = case.tables.predictions[case.tables.predictions["seed"] == seed]
        falling = np.sort(images["score"][images["label"] == 1])[::-1]
        threshold = falling[int(np.ceil(0.95 * len(falling))) - 1]
        assert value == pytest.approx((images["score"][images["label"] == 0] < threshold).mean())
    assert rows.loc[("fixed", "specificity_95"), "mean"] == pytest.approx(found.seeds["specificity_95"].mean())
    assert rows["pooled_low"].notna().all()
    assert {"specificity_95", "specificity_95_sd", "specificity_95_p"} <= set(found.floors)
    assert {"specificity_95", "specificity_95_low"} <= set(found.subgroups)
    one_class = found.subgroups[found.subgroups["specificity_95"].isna()]
    assert one_class["undefined"].str.contains("metric=specificity_95").all()
    compared = comparison.compare(
        *[comparison.Run(case.config, None, found.seeds.set_index("seed"), case.tables.predictions)] * 2
    )
    assert "specificity_95" in set(compared.metrics["metric"])


def test_a_run_with_nothing_beside_it():
    """Two seeds, no arm, no external set."""
    config, tables, arms = run_tables.small_case()
    found = analyse.analyse(config, tables, arms)
    assert found.external_seeds is None and found.leakage is None
    assert set(found.metrics["data"]) == set(found.operating["data"]) == set(found.calibration["data"]) == {"internal"}
    assert list(found.floors["available"]) == [True, True, True, False, False]


def test_one_seed_has_metrics_but_nothing_over_seeds():
    config = dataclasses.replace(run_tables.CONFIG, seeds=1)
    found = analyse.analyse(*run_tables.case(config, external=20))
    assert found.metrics["mean"].notna().all()
    assert found.metrics[["sd", "low", "high"]].isna().all(axis=None)
    assert found.leakage[["low", "high", "p"]].isna().all(axis=None)
    assert set(found.floors["beaten"]) == {None}


def test_a_control_is_judged_by_the_true_labels(case):
    """Scores know nothing of them: chance is within the interval."""
    config = dataclasses.replace(case.config, control="shuffled_labels")
    found = analyse.analyse(config, case.arms["shuffled_labels"], {}).metrics.set_index(["data", "rule", "metric"])
    row = found.loc[("internal", "fixed", "auroc")]
    assert row["low"] < 0.5 < row["high"]


def test_prevalence_and_sensitivity_are_the_configuration_s(case, analysed):
    config = dataclasses.replace(case.config, wanted_sensitivity=0.6)
    found = analyse.analyse(config, case.tables, {})
    assert (found.seeds["threshold"] > analysed.seeds["threshold"]).all()
    assert (found.seeds["train_sensitivity_chosen"] >= 0.6).all()
    row = analysed.seeds.iloc[1]
    hit, alarm = (case.config.prevalence * row["sensitivity"], (1 - case.config.prevalence) * (1 - row["specificity"]))
    assert row["ppv_at_prevalence"] == pytest.approx(hit / (hit + alarm), rel=1e-4)


@pytest.mark.parametrize("name", ["predictions", "training", "external"])
def test_tables_of_other_seeds_are_refused(case, name):
    table = getattr(case.tables, name)
    tables = case.tables._replace(**{name: table[table["seed"] != 4]})
    with pytest.raises(ValueError, match=re.escape(f"{name} must have the seeds [3, 4, 5, 6] of the run, got [3, 5")):
        analyse.analyse(case.config, tables, {})
