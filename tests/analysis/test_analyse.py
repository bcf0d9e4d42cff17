"""The whole analysis: what the interface promises, on runs with and without everything."""

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import analyse, comparison
from cxrjax.analysis.tables import Analysis
from cxrjax.base import codes
from cxrjax.metrics import registry
from tests.analysis import run_tables


def test_every_promised_column_is_there(analysed):
    """`tables.Analysis` names them, or the kinds of them."""
    promised = {
        "metrics": "data rule metric mean sd low high pooled pooled_low pooled_high undefined",
        "floors": "floor available note accuracy accuracy_sd auroc auroc_sd accuracy_difference "
        "accuracy_difference_low accuracy_difference_high accuracy_p auroc_difference auroc_difference_low "
        "auroc_difference_high auroc_p beaten claim undefined",
        "leakage": "metric patient image difference low high p undefined",
        "subgroups": "variable group images patients positives small accuracy accuracy_low accuracy_high sensitivity "
        "sensitivity_low sensitivity_high specificity specificity_low specificity_high auroc auroc_low auroc_high "
        "undefined",
        "ensemble": "data metric single ensemble ensemble_low ensemble_high gain gain_low gain_high undefined",
        "operating": "data seed threshold true_pos false_pos false_neg true_neg",
        "calibration": "data bin_low bin_high images patients score positives low high",
        "errors": "kind image patient labels view age sex label score seeds",
    }
    for name, columns in promised.items():
        assert list(getattr(analysed, name).columns) == columns.split(), name
    assert set(promised) | {"seeds", "external_seeds", "test_seeds"} == set(Analysis._fields)


def test_it_is_deterministic(case, analysed):
    again = analyse.analyse(*case)
    assert analysed.test_seeds is None
    for name in set(Analysis._fields) - {"test_seeds"}:
        pd.testing.assert_frame_equal(getattr(again, name), getattr(analysed, name))


def test_held_out_images_are_scored_like_external_ones(case, analysed):
    again = analyse.analyse(case[0], case[1]._replace(test=case[1].external), case[2])
    pd.testing.assert_frame_equal(
        again.test_seeds.drop(columns=["auroc_low", "auroc_high"]),
        analysed.external_seeds.drop(columns=["auroc_low", "auroc_high"]),
    )
    assert set(again.metrics["data"]) == {"internal", "external", "test"}
    one, other = (again.ensemble[again.ensemble["data"] == data] for data in ("external", "test"))
    columns = ["metric", "single", "ensemble", "gain"]
    pd.testing.assert_frame_equal(one[columns].reset_index(drop=True), other[columns].reset_index(drop=True))
    kept = again.metrics[again.metrics["data"] == "internal"].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, analysed.metrics[analysed.metrics["data"] == "internal"].reset_index(drop=True))


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
    assert list(found.floors["available"]) == [True, True, True, True, True, False, False]


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


def without_reason(row, columns, reasons):
    """Columns of a row that are NaN while no code speaks of them; those of an interval are told by its low end."""
    told = {values.get("metric", "") for _, values in codes.parse(reasons)}
    return [name for name in columns if np.isnan(row[name]) and name.replace("_high", "_low") not in told]


@pytest.mark.parametrize("kept", [[0], None], ids=["one seed", "all"])
def test_every_nan_has_its_reason(case, kept):
    """Also where seeds validated one class alone, or called no image positive."""
    config, tables, _ = case
    seeds = sorted(tables.seeds["seed"])
    chosen = [seeds[i] for i in kept] if kept else seeds

    def part(table):
        return None if table is None else table[table["seed"].isin(chosen)].reset_index(drop=True)

    predictions = part(tables.predictions)
    last = predictions["seed"] == chosen[-1]
    predictions.loc[last & (predictions["label"] == 1), "score"] = 0.1
    external = part(tables.external)
    external = external[external["label"] == 0]  # one class
    run = tables._replace(
        seeds=part(tables.seeds),
        predictions=predictions,
        training=part(tables.training),
        external=external,
        probe=part(tables.probe),
    )
    arms = {
        name: arm._replace(seeds=part(arm.seeds), predictions=part(arm.predictions)) for name, arm in case.arms.items()
    }
    arms["split_by_image"] = arms["split_by_image"]._replace(
        seeds=arms["split_by_image"].seeds.assign(contaminated_share=np.nan)  # as of patients who are unknown
    )
    analysis = analyse.analyse(config, run, arms)
    of_seeds = [*registry.METRICS, "auroc_low", "auroc_high", "delong_low", "delong_high", "threshold"]
    of_seeds += ["sensitivity_chosen", "specificity_chosen"]
    for table in (analysis.seeds, analysis.external_seeds):
        for row in table.to_dict("records"):
            assert not without_reason(row, of_seeds, row["undefined"])
    assert analysis.external_seeds[of_seeds].isna().any(axis=None)
    numbers = ["mean", "sd", "low", "high", "pooled", "pooled_low", "pooled_high"]
    undefined = analysis.metrics[analysis.metrics[numbers].isna().any(axis=1)]
    assert len(undefined) and (undefined["undefined"] != "").all()
    internal = analysis.metrics[(analysis.metrics["data"] == "internal") & analysis.metrics["mean"].notna()]
    assert (internal["undefined"].str.contains("one_seed")).all() == (len(chosen) == 1)
    if kept is None:
        of_ensemble = analysis.ensemble[["single", "ensemble", "ensemble_low", "ensemble_high"]].isna().any(axis=1)
        assert of_ensemble.any() and (analysis.ensemble["undefined"] != "")[of_ensemble].all()
    shares = [name + end for name in registry.shown_in(registry.SUBGROUPS) for end in ("", "_low", "_high")]
    of_groups = analysis.subgroups[analysis.subgroups[shares].isna().any(axis=1)]
    assert (of_groups["undefined"] != "").all()
    for name in registry.shown_in(registry.FLOORS):
        rows = analysis.floors[analysis.floors["available"]]
        for columns, reason in (([name, f"{name}_sd"], name), ([f"{name}_difference_low"], f"{name}_difference")):
            for row in rows[rows["floor"] != "network"].to_dict("records"):
                assert not np.isnan([row[column] for column in columns]).any() or f"metric={reason}" in row["undefined"]
    assert set(analysis.floors[~analysis.floors["available"]]["note"]) <= {"no_metadata", "no_film", "not_trained"}
    leakage = analysis.leakage.set_index("metric")
    assert (leakage["undefined"] != "")[leakage.isna().any(axis=1)].all()
    assert leakage.loc["contaminated_share", "undefined"] == "unknown_patients; follows_from_splits"
    assert (analysis.calibration["images"] == 0).eq(analysis.calibration["score"].isna()).all()


def test_a_share_that_nobody_can_tell_says_so(case):
    """Of validation images whose patient was trained on, where patients are unknown."""
    seeds = case.tables.seeds
    shares = seeds["contaminated_share"].where(seeds.index > 0)
    untold = case.tables._replace(seeds=seeds.assign(contaminated_share=shares))
    analysis = analyse.analyse(case.config, untold, {})
    told = analysis.seeds["undefined"].str.contains("unknown_patients metric=contaminated_share")
    assert list(told) == list(analysis.seeds["contaminated_share"].isna()) == [True, False, False, False]
