"""Floors by hand and against scikit-learn, the contamination of a split by image."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score

from cxrjax.analysis import floors, scores
from cxrjax.analysis.tables import RunTables
from cxrjax.base import tasks
from cxrjax.data import cohort
from cxrjax.data.load import load
from cxrjax.metrics import registry, resampled_t
from tests.analysis import run_tables

BARE = {"view": "", "age": np.nan, "sex": "", "followup": 0}


def row_of(table, floor):
    return table[table["floor"] == floor].iloc[0]


def by_seed(predictions, metric):
    return np.array([metric(own) for _, own in predictions.groupby("seed")])


def accuracy(own):
    return accuracy_score(own["label"], own["score"] > 0.5)


def auroc(own):
    return roc_auc_score(own["label"], own["score"])


def network(tables):
    return scores.at_half(tables.predictions)


def test_rows_and_what_they_used(analysed):
    assert list(analysed.floors["floor"]) == [
        "network", "majority", "film", "metadata", "probe", "shuffled_labels", "random_trunk",
    ]  # fmt: skip
    assert analysed.floors["available"].all()
    assert row_of(analysed.floors, "metadata")["note"] == "metadata used=view,sex,age,followup"
    assert row_of(analysed.floors, "film")["note"] == "metadata used=view,sex,age"


def test_what_a_film_shows_has_no_follow_up_number(case):
    """Which alone tells the class here."""
    label = case.tables.images["labels"].str.contains("Pneumonia")
    tables = case.tables._replace(images=case.tables.images.assign(**BARE | {"view": "PA", "followup": 9 * label}))
    table = floors.table(tables, {}, network(tables))
    assert row_of(table, "metadata")["auroc"] > 0.99
    assert row_of(table, "film")["note"] == "no_film" and not row_of(table, "film")["available"]
    mixed = tables._replace(images=tables.images.assign(view=np.where(tables.images.index % 2, "AP", "PA")))
    assert row_of(floors.table(mixed, {}, network(mixed)), "film")["auroc"] < 0.7


@pytest.mark.parametrize(
    ("differences", "claim"),
    [
        ([0.2, 0.21, 0.22, 0.19], "better"),
        ([-0.2, -0.21, -0.22, -0.19], "worse"),
        ([0.2, 0.05, 0.12], "few_runs"),  # ± 0.25, of ten runs ± 0.10
        ([-0.2, -0.05, -0.12], "few_runs"),
        ([0.2, -0.2, 0.02], "undecided"),
        ([0.01, -0.01, 0.02, 0.0, 0.01, -0.02, 0.0, 0.0, 0.01, -0.01, 0.02, 0.01], "undecided"),
        ([0.2], ""),
        ([0.2, 0.2], ""),
    ],
)
def test_the_claim_is_what_the_interval_supports(differences, claim):
    test = resampled_t.compare_runs(np.zeros(len(differences)), np.array(differences), 400, 100)
    assert floors.claim(test, len(differences), 400, 100) == claim


def test_few_runs_would_be_enough_as_ten_of_the_same_spread():
    """Ten runs of the same mean and SD have an interval that leaves out 0, which the formula foretells to its end."""
    few, runs = np.array([0.2, 0.05, 0.12]), 10
    many = np.resize([-1.0, 1.0], runs)
    many = few.mean() + many / many.std(ddof=1) * few.std(ddof=1)
    three, ten = (resampled_t.compare_runs(np.zeros(len(x)), x, 400, 100) for x in (few, many))
    ratio = resampled_t.half_width(10, 400, 100) / resampled_t.half_width(3, 400, 100)
    assert ten.high - ten.low == pytest.approx((three.high - three.low) * ratio)
    assert three.low < 0 < ten.low


def test_an_arm_stands_beside_the_network_by_the_corrected_t(case, analysed):
    sizes = case.tables.seeds["n_train"].mean(), case.tables.seeds["n_val"].mean()
    for arm in ("shuffled_labels", "random_trunk"):
        row = row_of(analysed.floors, arm)
        for name, metric in (("accuracy", accuracy), ("auroc", auroc)):
            floor, own = (by_seed(t.predictions, metric) for t in (case.arms[arm], case.tables))
            test = resampled_t.compare_runs(floor, own, *sizes)
            assert (row[name], row[f"{name}_sd"]) == pytest.approx((floor.mean(), floor.std(ddof=1)), rel=1e-4)
            assert row[f"{name}_difference"] == pytest.approx(own.mean() - floor.mean(), rel=1e-4)
            found = [row[f"{name}_{end}"] for end in ("difference_low", "difference_high", "p")]
            assert found == pytest.approx([test.low, test.high, test.p], rel=1e-3)
        assert row["beaten"] is True
        assert row["auroc_difference_low"] > 0


def test_the_network_is_no_floor(case, analysed):
    row = row_of(analysed.floors, "network")
    assert row["auroc"] == pytest.approx(by_seed(case.tables.predictions, auroc).mean(), rel=1e-5)
    assert row["beaten"] is None
    assert np.isnan(row["auroc_difference"])


def test_majority_by_hand():
    """Seed 0 is trained on two of three positives, seed 1 on one of three, seed 2 on one of two."""
    training = pd.DataFrame({"seed": [0, 0, 0, 1, 1, 1, 2, 2], "label": [1, 1, 0, 1, 0, 0, 1, 0]})
    predictions = pd.DataFrame({"seed": [0, 0, 0, 0, 1, 2], "label": [1, 1, 1, 0, 0, 1], "patient": "p", "score": 0.3})
    tables = RunTables(None, None, predictions, training, None, None, None)
    assert list(floors.majority(tables)["score"]) == [1, 1, 1, 1, 0, 0]


def test_majority_has_no_auroc_but_a_half(case, analysed):
    row = row_of(analysed.floors, "majority")
    assert (row["auroc"], row["auroc_sd"]) == (0.5, 0)
    negatives = by_seed(case.tables.predictions, lambda own: (own["label"] == 0).mean())
    assert row["accuracy"] == pytest.approx(negatives.mean())


def test_metadata_agree_with_a_regression_on_hand_made_columns(case):
    """Standardised columns of each seed's own training images; one column for a view says what two do."""
    images = case.tables.images.set_index("image")
    images = images[(images["sex"] != "") & images["age"].notna()]
    known = pd.DataFrame(
        {
            "AP": images["view"] == "AP",
            "PA": images["view"] == "PA",
            "age": images["age"],
            "followup": np.log1p(images["followup"]),
        }
    ).astype(float)
    own = [t[(t["seed"] == 4) & t["image"].isin(known.index)] for t in (case.tables.training, case.tables.predictions)]
    tables = case.tables._replace(training=own[0], predictions=own[1], images=images.reset_index())
    found = floors.metadata(tables, ["view", "age", "followup"])
    train, val = (known.loc[t["image"]].to_numpy() for t in own)
    mean, sd = train[:, 2:].mean(axis=0), train[:, 2:].std(axis=0)
    for x in (train, val):
        x[:, 2:] = (x[:, 2:] - mean) / sd
    expected = LogisticRegression(max_iter=1000).fit(train, own[0]["label"]).predict_proba(val)[:, 1]
    np.testing.assert_allclose(found["score"], expected, atol=1e-5)


def test_metadata_that_tell_the_class_are_found(case):
    """Whatever else is unknown, and with a view in validation that no training image has."""
    label = case.tables.images["labels"].str.contains("Pneumonia")
    images = case.tables.images.assign(**BARE | {"sex": label.map({True: "F", False: "M"})})
    images.loc[images["image"] == case.tables.predictions["image"].iloc[0], "view"] = "LL"
    images.loc[3, "age"] = 412
    used = floors.informative(images)
    assert used == ["view", "sex"]
    assert by_seed(floors.metadata(case.tables._replace(images=images), used), auroc).min() > 0.99


def test_unknown_ages_are_told_apart(case):
    """Only positives have no age."""
    label = case.tables.images["labels"].str.contains("Pneumonia")
    images = case.tables.images.assign(**BARE | {"age": np.where(label, np.nan, 50.0)})
    assert by_seed(floors.metadata(case.tables._replace(images=images), ["age"]), auroc).min() > 0.99


def test_a_source_that_tells_nothing_has_no_metadata():
    case = run_tables.small_case()
    tables = case.tables._replace(images=case.tables.images.assign(**BARE))
    row = row_of(floors.table(tables, {}, network(tables)), "metadata")
    assert not row["available"]
    assert row["note"] == "no_metadata"
    assert np.isnan(row["auroc"]) and row["beaten"] is None


def test_what_was_not_trained_is_not_available(case):
    found = floors.table(case.tables, {"random_trunk": case.arms["random_trunk"]}, network(case.tables))
    assert list(found["available"]) == [True, True, True, True, True, False, True]
    assert row_of(found, "shuffled_labels")["note"] == "not_trained"


def test_a_floor_as_good_as_the_network_is_not_beaten(case):
    arm = case.tables.predictions.copy()
    arm["score"] = arm["score"] * 0.98 + 0.02 * np.random.default_rng(0).random(len(arm))
    arms = {"random_trunk": case.tables._replace(predictions=arm)}
    assert row_of(floors.table(case.tables, arms, network(case.tables)), "random_trunk")["beaten"] is False


def test_one_seed_leaves_open_whether_a_floor_is_beaten():
    config = dataclasses.replace(run_tables.CONFIG, seeds=1)
    tables = run_tables.case(config, arms=(), external=0).tables
    row = row_of(floors.table(tables, {}, network(tables)), "majority")
    assert row["auroc_difference"] > 0
    assert np.isnan(row["auroc_p"]) and row["beaten"] is None


def test_an_arm_of_other_seeds_is_refused(case):
    arm = case.arms["random_trunk"]
    arm = arm._replace(predictions=arm.predictions[arm.predictions["seed"] != 4])
    with pytest.raises(
        ValueError, match=r"arms\['random_trunk'\] must have the run's seeds \[3, 4, 5, 6\], got \[3, 5"
    ):
        floors.table(case.tables, {"random_trunk": arm}, network(case.tables))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "expected"), [("p_vs_nf", 0.749), ("p_vs_np", 0.795)])
def test_metadata_alone_on_real_splits(shared, task, expected):
    """Ten seeds of nih-mini, as an experiment draws and splits them."""
    table = load(str(shared / "nih-mini"), 0.01)[0].table
    predictions, training = [], []
    for seed in range(10):
        drawn = cohort.draw(table, tasks.get(task), seed)
        split = cohort.split(drawn, seed)
        for rows, parts in ((split.val, predictions), (split.train, training)):
            image = table["image"].to_numpy()[drawn.index[rows]]
            parts.append(
                pd.DataFrame({"seed": seed, "image": image, "patient": drawn.patient[rows], "label": drawn.label[rows]})
            )
    tables = RunTables(None, None, pd.concat(predictions), pd.concat(training), table, None, None)
    found = floors.metadata(tables, floors.informative(table))
    assert by_seed(found, auroc).mean() == pytest.approx(expected, abs=0.003)


def test_every_metric_of_both_splits(case, analysed):
    found = analysed.leakage.set_index("metric")
    assert list(found.index) == ["contaminated_share", *registry.shown_in(registry.MAIN)]
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
    row = analysed.leakage.set_index("metric").loc["contaminated_share"]
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
        floors.leakage(case.tables, fewer)


def test_the_probe_stands_beside_the_network_with_its_strengths(case):
    probe = case.tables.probe.assign(strength=np.where(case.tables.probe["seed"] < 5, 0.3, 10.0))
    row = row_of(floors.table(case.tables._replace(probe=probe), {}, network(case.tables)), "probe")
    assert row["note"] == "probe strengths=0.3,10"
    assert row["auroc"] == pytest.approx(by_seed(probe, auroc).mean())


@pytest.mark.parametrize(
    ("head", "n_train", "note"),
    [("own", 100, "no_probe"), ("linear", 100, "is_probe"), ("own", 4001, "many_images most=4000")],
)
def test_why_there_is_no_probe(case, head, n_train, note):
    tables = case.tables._replace(probe=None, seeds=case.tables.seeds.assign(n_train=n_train))
    row = row_of(floors.table(tables, {}, network(tables), head), "probe")
    assert (row["available"], row["note"], row["beaten"]) == (False, note, None)
