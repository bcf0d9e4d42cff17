"""What every metric takes and refuses, whatever holds it and however JAX is configured."""

import inspect
import io
import logging
import threading

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrjax.base.numerics import settings
from cxrjax.metrics import arguments, bootstrap, delong, discrimination, registry, resampled_t

RNG = np.random.default_rng(0)
N = 60
LABEL = (RNG.random(N) < 0.4).astype(int)
SCORE = np.clip(RNG.normal(0.4 + 0.2 * LABEL, 0.2), 0, 1).astype(np.float32)
ONCE, PATIENT = np.ones(N), np.repeat(np.arange(N // 3), 3)
ACCURACY = registry.Evaluation((registry.METRICS["accuracy"],))


def once(function):
    """A metric as a function of label and score, [1] or more."""
    takes = inspect.signature(function).parameters
    further = {"threshold": 0.5, "prevalence": 0.1}
    options = {name: value for name, value in further.items() if name in takes}
    return lambda label, score: np.hstack(jax.tree.leaves(function(label, score, np.ones(np.shape(label)), **options)))


METRICS = {
    function.__name__: once(function) for function in dict.fromkeys(row.function for row in registry.METRICS.values())
}
EVERY = METRICS | {
    "compute": lambda label, score: np.hstack([*registry.compute(label, score, ONCE).values()]),
    "undefined": lambda label, score: registry.undefined(label, score, ONCE),
    "placements": delong.placements,
    "delong covariance": lambda label, score: delong.covariance(label, [score])[1],
    "delong interval": lambda label, score: delong.interval(label, score)[:3],
    "delong compare": lambda label, score: delong.compare(label, score, SCORE**2)[:5],
    "bootstrap": lambda label, score: bootstrap.intervals(
        jax.random.key(0), ACCURACY, [bootstrap.Images(label, score, PATIENT)], draws=20
    )[0]["accuracy"][:3],
    "threshold": lambda label, score: [resampled_t.threshold_for_sensitivity(label, score, 0.9)],
}
WRONG_LABELS = {
    "-1 and 1": np.where(LABEL, 1, -1),
    "1 and 2": LABEL + 1,
    "three": np.where(np.arange(N) == 7, 2, LABEL),
    "0.5": np.where(np.arange(N) == 7, 0.5, LABEL),
    "nan": np.where(np.arange(N) == 7, np.nan, LABEL),
    "text": LABEL.astype(str),
    "names": np.where(LABEL, "P", "NF"),
    "None": [None, *LABEL[1:]],
    "missing": pd.array([None, *LABEL[1:]], dtype="Int64"),
    "complex": LABEL + 0j,
}


@pytest.mark.parametrize("name", EVERY)
def test_labels_other_than_0_and_1_are_refused(name):
    for wrong in WRONG_LABELS.values():
        with pytest.raises(ValueError, match="label must be 0 or 1, got "):
            EVERY[name](wrong, SCORE)


@pytest.mark.parametrize("name", EVERY)
def test_scores_that_are_no_numbers_are_refused(name):
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"score must (be finite|lie in 0\.\.1), got (nan|inf) in 1 of 60 images"):
            EVERY[name](LABEL, np.where(np.arange(N) == 7, wrong, SCORE))
    with pytest.raises(ValueError, match=r"score must be a number, got '0\.\d+'"):
        EVERY[name](LABEL, SCORE.astype(str))


def test_only_ranks_take_scores_beyond_0_and_1():
    logits = np.log(SCORE.clip(1e-3, 1 - 1e-3) / (1 - SCORE.clip(1e-3, 1 - 1e-3)))
    for name, metric in METRICS.items():
        if name in ("auroc", "auprc"):
            np.testing.assert_allclose(metric(LABEL, logits), metric(LABEL, SCORE), atol=0.01)
        else:
            with pytest.raises(ValueError, match=r"score must lie in 0\.\.1, got"):
                metric(LABEL, logits)


@pytest.mark.parametrize("name", EVERY)
def test_what_holds_label_and_score_does_not_matter(name):
    expected = EVERY[name](LABEL, SCORE)
    index = RNG.permutation(N) + 100
    for label, score in (
        (LABEL.tolist(), tuple(SCORE.tolist())),
        (pd.Series(LABEL, index), pd.Series(SCORE, index)),
        (pd.Series(LABEL == 1, index, dtype="boolean"), pd.Series(SCORE, index, dtype="Float32")),
        (LABEL.astype(np.float16), jax.numpy.asarray(SCORE)),
        (LABEL.astype(np.uint8), SCORE.astype(object)),
    ):
        got = EVERY[name](label, score)
        if name == "undefined":
            assert got == expected
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_lengths_that_differ_and_no_image():
    for call in (
        lambda: discrimination.auroc(LABEL, SCORE[:5], ONCE),
        lambda: delong.interval(LABEL, SCORE[:5]),
        lambda: delong.interval(LABEL, SCORE, PATIENT[:5]),
        lambda: delong.compare(LABEL, SCORE, SCORE, PATIENT[:5]),
        lambda: bootstrap.intervals(jax.random.key(0), ACCURACY, [bootstrap.Images(LABEL, SCORE, PATIENT[:5])]),
        lambda: resampled_t.threshold_for_sensitivity(LABEL, SCORE[:5], 0.9),
    ):
        with pytest.raises(ValueError, match=r"one shape|one entry for each|label 60, patient 5"):
            call()
    assert delong.interval([], []).reason == delong.compare([], [], []).reason == "no_image"
    assert set(registry.undefined([], [], []).values()) == {"no_image"}
    with pytest.raises(ValueError, match="label must hold an image"):
        bootstrap.intervals(jax.random.key(0), ACCURACY, [bootstrap.Images([], [], [])])


def test_numbers_beside_the_images_are_checked():
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        registry.compute(LABEL, SCORE, ONCE, threshold=np.nan)
    with pytest.raises(ValueError, match="prevalence must be a number, got '1 %'"):
        registry.compute(LABEL, SCORE, ONCE, prevalence="1 %")
    for call in (
        lambda: delong.interval(LABEL, SCORE, level=95),
        lambda: delong.compare(LABEL, SCORE, SCORE, level=95),
        lambda: bootstrap.intervals(jax.random.key(0), ACCURACY, [], level=95),
        lambda: resampled_t.compare_runs([0.1, 0.2], [0.2, 0.4], 80, 20, level=95),
    ):
        with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
            call()
    with pytest.raises(ValueError, match=r"label must hold both classes, got 60 positive images of 60"):
        delong.placements(np.ones(N), SCORE)


def test_padding_may_hold_anything():
    padded = [np.append(array, wrong) for array, wrong in ((LABEL, np.nan), (SCORE, np.nan), (ONCE, 0))]
    got, expected = registry.compute(*padded), registry.compute(LABEL, SCORE, ONCE)
    np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-5)


def test_inside_jit_a_wrong_label_makes_every_metric_nan():
    for wrong in (np.where(LABEL, 1, -1), LABEL + 1):
        assert np.isnan([float(value) for value in jax.jit(registry.compute)(wrong, SCORE, ONCE).values()]).all()


@pytest.mark.parametrize(
    "patient",
    [
        [f"p{i}" for i in range(20)] * 3,
        list(range(20)) * 3,
        ["NA", *range(19)] * 3,
        [float("nan"), *map(float, range(19))] * 3,
        [None, *map(str, range(19))] * 3,
        pd.Series([pd.NA, *range(19)] * 3, dtype="Int64", index=range(100, 160)),
        pd.Categorical([f"p{i}" for i in range(20)] * 3),
    ],
)
def test_patients_are_any_names(patient):
    numbers = list(range(20)) * 3
    assert delong.interval(LABEL, SCORE, patient) == pytest.approx(delong.interval(LABEL, SCORE, numbers))
    run = bootstrap.intervals(jax.random.key(0), ACCURACY, [bootstrap.Images(LABEL, SCORE, patient)], draws=300)
    assert run[0]["accuracy"].low < run[0]["accuracy"].high


def test_patients_written_in_two_ways_are_one():
    assert arguments.patients([12, "12", 12.0, "7", 7]).tolist() == [0, 0, 0, 1, 1]


def test_the_recipe_runs_with_a_patient_called_na(caplog):
    """pandas takes NA and None for missing, so that one patient of two is left of them, which is told."""
    names = [["NA", "None", f"p{i}"][i % 3] for i in range(N)]
    rows = zip(LABEL, SCORE, names, strict=True)
    text = "label,score,patient\n" + "".join(f"{label},{score},{name}\n" for label, score, name in rows)
    for options, values in (({}, {}), ({"keep_default_na": False}, {"NA", "None"})):
        table = pd.read_csv(io.StringIO(text), dtype={"patient": str}, **options)
        assert set(table["patient"]) & {"NA", "None"} == set(values)
        with caplog.at_level(logging.WARNING):
            got = delong.interval(table["label"], table["score"], table["patient"])
        assert got.low < got.value < got.high
        assert ("patient is missing in 40 of 60 images" in caplog.text) == (not values)
        caplog.clear()


def area(label, score):
    return float(discrimination.auroc(label, score, np.ones(len(label))))


@pytest.mark.parametrize(
    ("label", "score"),
    [
        (LABEL, SCORE.round(1)),
        (LABEL, np.full(N, 0.3)),
        (np.arange(100_000) % 2, np.random.default_rng(1).random(100_000)),
        (np.arange(100_000) < 3, np.random.default_rng(2).random(100_000)),
        (LABEL, 1 - 1e-9 * RNG.random(N)),  # all the same in float32
        (LABEL, 0.5 + 1e-12 * LABEL),
    ],
    ids=["ties", "constant", "100,000", "3 of 100,000", "close", "closer"],
)
def test_auroc_is_delongs_and_scikit_learns(label, score):
    reference = roc_auc_score(label, score)
    assert delong.interval(label, score).value == pytest.approx(reference, rel=1e-12)
    assert area(label, score) == np.float32(reference)  # the nearest float32
    with jax.enable_x64(True):
        assert area(label, score) == pytest.approx(reference, rel=1e-12)
    if len(label) == N:
        auroc = registry.Evaluation((registry.METRICS["auroc"],))
        (estimates,) = bootstrap.intervals(jax.random.key(0), auroc, [bootstrap.Images(label, score, PATIENT)], draws=9)
        assert estimates["auroc"].value == pytest.approx(reference, rel=1e-12)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("enable_x64", True),
        ("debug_nans", True),
        ("debug_infs", True),
        ("threefry_partitionable", False),
        ("default_prng_impl", "rbg"),
        ("numpy_dtype_promotion", "strict"),
    ],
)
def test_metrics_are_the_same_under_every_setting(setting, value):
    """Of two classes, and of one, which leaves some undefined."""
    for label in (LABEL, np.ones(N, int)):
        expected = jax.device_get(registry.compute(label, SCORE, ONCE))
        reasons = registry.undefined(label, SCORE, ONCE)
        with getattr(jax, setting)(value):
            got = jax.device_get(registry.compute(label, SCORE, ONCE))
            assert registry.undefined(label, SCORE, ONCE) == reasons
            alone = {name: metric(label, SCORE)[0] for name, metric in METRICS.items() if name in expected}
        for name, wanted in expected.items():
            np.testing.assert_allclose(got[name], wanted, rtol=1e-5, atol=1e-6, err_msg=name)
            np.testing.assert_allclose(alone.get(name, wanted), wanted, rtol=1e-5, atol=1e-6, err_msg=name)


def test_keys_of_the_old_kind_draw_the_same_patients():
    images = [bootstrap.Images(LABEL, SCORE, PATIENT)]
    keys = jax.random.key(3), jax.random.PRNGKey(3), np.asarray(jax.random.PRNGKey(3))
    got = [bootstrap.intervals(key, ACCURACY, images, draws=20) for key in keys]
    assert got[0] == got[1] == got[2]
    with pytest.raises(ValueError, match=r"key must be one PRNG key, as `jax\.random\.key\(0\)` is, got 0"):
        bootstrap.intervals(0, ACCURACY, images)


def test_two_threads_at_once_give_what_one_gives():
    expected = jax.device_get(registry.compute(LABEL, SCORE, ONCE))
    results = {}

    def work(name, x64):
        with settings(x64=x64):
            results[name] = [jax.device_get(registry.compute(LABEL, SCORE, ONCE)) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i, i % 2)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for values in results.values():
        for one in values:
            for name, value in expected.items():
                np.testing.assert_allclose(one[name], value, rtol=1e-6, equal_nan=True)
