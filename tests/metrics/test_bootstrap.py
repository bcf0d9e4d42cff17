"""Against loops that resample rows, and against simulated sets whose true figures are known."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrjax.metrics import bootstrap, cells, delong, discrimination, limits, registry
from cxrjax.metrics.bootstrap import Images
from cxrjax.metrics.limits import Draws


def key():
    return jax.random.key(0)


def two(label, score, weight):
    return {
        "auroc": discrimination.auroc(label, score, weight),
        "specificity": discrimination.specificity(label, score, weight),
    }


def auroc(label, score, weight):
    return {"auroc": discrimination.auroc(label, score, weight)}


def make(seed, patients=40, images=70):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, images)
    return Images(label, rng.random(images).round(2) * 0.7 + 0.3 * label, rng.integers(0, patients, images) + 1000)


def draw(patients, draws):
    return cells.multiplicities(np.random.default_rng(0), patients, draws)


def test_patients_are_drawn_with_replacement():
    times = draw(40, 4_000)
    assert times.shape == (4_000, 40)
    assert (times.sum(axis=1) == 40).all()
    assert (times >= 0).all()
    # A patient's multiplicity is binomial (40, 1/40): mean 1, variance 39/40, absent with (39/40)^40 = 0.363.
    assert times.mean(axis=0) == pytest.approx(1, abs=0.07)
    assert times.var() == pytest.approx(39 / 40, rel=0.02)
    assert (times == 0).mean() == pytest.approx((39 / 40) ** 40, abs=0.005)
    np.testing.assert_array_equal(draw(40, 20), times[:20])


def test_resampling_agrees_with_a_loop_over_rows():
    """One program gives the replicates, the jackknife and the metrics of the images as they are."""
    images = make(0)
    names, patient = np.unique(images.patient, return_inverse=True)
    times, score = draw(len(names), 100), images.score.astype(np.float32)

    def evaluate(label, score, weight):
        return {"auroc": discrimination.auroc(label, score, weight), "ap": discrimination.auprc(label, score, weight)}

    got = bootstrap._resample(evaluate, Images(images.label, score, patient), np.ones(70, np.float32), times)
    for d in range(100):
        rows = np.concatenate([np.flatnonzero(patient == p) for p in range(len(names)) for _ in range(times[d, p])])
        assert float(got["auroc"][d]) == pytest.approx(roc_auc_score(images.label[rows], score[rows]), rel=1e-5)
        assert float(got["ap"][d]) == pytest.approx(average_precision_score(images.label[rows], score[rows]), rel=1e-5)
    for p in range(len(names)):
        rows = patient != p
        assert float(got["auroc"][100 + p]) == pytest.approx(roc_auc_score(images.label[rows], score[rows]), rel=1e-5)
    assert got["auroc"].shape == (100 + len(names) + 1,)
    assert float(got["auroc"][-1]) == pytest.approx(roc_auc_score(images.label, score), rel=1e-5)


def test_runs_much_smaller_than_the_largest_are_padded_less():
    def sizes(*runs):
        return bootstrap._rooms(*zip(*((n, min(n, p)) for n, p in runs), strict=True))

    assert sizes((10, 5), (200, 128)) == [(256, 128)] * 2
    assert sizes((300, 130)) == [(320, 160)]
    assert sizes((20_000, 9_000), (3_000, 1_200), (2_500, 1_000), (2_500, 1_300), (10, 10)) == [
        (20_480, 10_240), (20_480, 10_240), (2_560, 1_280), (20_480, 10_240), (320, 160)
    ]  # fmt: skip
    for runs in ([(5_000, 200), (300, 190)], [(700, 650), (80, 80)]):
        for (n, patients), (width, slots) in zip(runs, sizes(*runs), strict=True):
            assert width >= n and slots >= patients


def test_pieces_of_any_size_give_the_same(monkeypatch):
    images = make(0)
    patient = np.unique(images.patient, return_inverse=True)[1]
    given = Images(images.label, images.score.astype(np.float32), patient), np.ones(70), np.eye(50, 40)
    # Two functions, since a program that is compiled is not made anew.
    whole = bootstrap._resample(lambda y, s, w: {"weight": jnp.sum(w)}, *given)["weight"]
    monkeypatch.setattr(bootstrap, "_ELEMENTS", 70 * 7)
    pieces = bootstrap._resample(lambda y, s, w: {"weight": jnp.sum(w)}, *given)["weight"]
    np.testing.assert_array_equal(pieces, whole)
    images_of = np.bincount(patient, minlength=40)
    np.testing.assert_array_equal(whole, [*images_of, *np.zeros(10), *(70 - images_of), 70])


ONE_CLASS = Images(np.ones(6), np.linspace(0.2, 0.9, 6), np.arange(6))
ONE_PATIENT = Images(np.array([1, 0, 1, 0, 1, 0]), np.linspace(0.2, 0.9, 6), np.zeros(6))
RUNS = [make(0), make(1, patients=25, images=50), make(2, patients=60, images=90), ONE_CLASS, ONE_PATIENT]


@pytest.fixture(scope="module")
def together():
    return [one["auroc"] for one in bootstrap.intervals(key(), auroc, RUNS, draws=200)]


def test_runs_of_unequal_size_together_equal_each_alone(together):
    """Draws of run i depend on the key and i alone."""
    alone = bootstrap.intervals(key(), auroc, RUNS[:1], draws=200)[0]["auroc"]
    assert alone[:3] == pytest.approx(together[0][:3], rel=1e-5)
    assert together[0] != together[1]
    for run, found in zip(RUNS[:3], together, strict=False):
        assert found.value == pytest.approx(roc_auc_score(run.label, run.score.astype(np.float32)), rel=1e-5)
        assert found.low < found.value < found.high and not found.reason


def test_undefined_figures_and_single_patients_have_no_interval(together):
    assert math.isnan(together[3].value) and together[3].reason == "undefined"
    assert not math.isnan(together[4].value)
    assert math.isnan(together[4].low) and together[4].reason == "one_patient"


def test_bca_agrees_with_scipy_on_the_same_draws():
    """`scipy.stats.bootstrap` of a mean, BCa, with its own replicates; z in place of t by many observations."""
    values = np.random.default_rng(0).exponential(size=2_000)
    reference = stats.bootstrap((values,), np.mean, n_resamples=4_000, method="BCa", rng=np.random.default_rng(1))
    without = (values.sum() - values) / (len(values) - 1)
    draws = Draws(values.mean(), reference.bootstrap_distribution, without)
    got = limits.bca(draws, 0.95)
    assert got[:2] == pytest.approx(tuple(reference.confidence_interval), abs=1e-4)
    assert got[:2] != pytest.approx(tuple(np.quantile(reference.bootstrap_distribution, [0.025, 0.975])), abs=1e-4)


def test_methods_by_hand():
    replicates = np.array([0.5, 0.6, 0.7, 0.8, 0.9])
    draws = Draws(0.7, replicates, np.empty(0))
    half = 1.959964 * np.log(replicates / (1 - replicates)).std(ddof=1)
    middle = math.log(0.7 / 0.3)
    expected = tuple(1 / (1 + math.exp(-x)) for x in (middle - half, middle + half))
    assert limits.logit_normal(draws, 0.95)[:2] == pytest.approx(expected)
    half = 1.959964 * math.sqrt(0.025)
    assert limits.normal(draws, 0.95)[:2] == pytest.approx((0.7 - half, 0.7 + half))


def test_half_of_the_draws_equal_to_the_figure_count_as_below_it():
    """Shares of few images take few values: here bias and acceleration are 0, and the quantiles are plain ones."""
    draws = Draws(0.7, np.repeat([0.6, 0.7, 0.8], [250, 500, 250]), np.linspace(0.68, 0.72, 50))
    assert limits.bca(draws, 0.95) == (0.6, 0.8, "")


def test_few_patients_widen_bca():
    rng = np.random.default_rng(0)
    replicates = rng.normal(0.7, 0.05, 4_000)
    wide, narrow = (limits.bca(Draws(0.7, replicates, rng.normal(0.7, 0.01, n)), 0.95) for n in (10, 1_000))
    assert wide[0] < narrow[0] - 0.01
    assert wide[1] > narrow[1] + 0.01


EVEN, AROUND = np.linspace(0.6, 0.8, 1_000), np.linspace(0.68, 0.72, 50)


@pytest.mark.parametrize(
    ("method", "draws", "reason"),
    [
        (limits.logit_normal, Draws(1.0, EVEN, AROUND), "end_of_range value=1"),
        (limits.logit_normal, Draws(0.7, np.append(EVEN, np.ones(80)), AROUND), "extreme_in_draws share=0.074"),
        (limits.logit_normal, Draws(0.7, 0 * EVEN + 0.7, AROUND), "same_in_every_draw"),
        (limits.normal, Draws(0.7, np.append(EVEN, [math.nan] * 80), AROUND), "undefined_in_draws share=0.074"),
        (limits.bca, Draws(0.7, np.append(EVEN, [math.nan] * 80), AROUND), "undefined_in_draws share=0.074"),
        (limits.bca, Draws(0.7, EVEN, np.append(AROUND, math.nan)), "undefined_without_a_patient"),
        (limits.bca, Draws(0.7, EVEN, 0 * AROUND + 0.7), "same_without_any_patient"),
        (limits.bca, Draws(0.61, EVEN, AROUND), "too_skewed share=0.95"),
        (limits.bca, Draws(0.5, EVEN, AROUND), "too_skewed share=1"),
        (limits.no_interval, Draws(0.7, EVEN, AROUND), "raised_by_resampling"),
    ],
)
def test_no_interval_is_nan_with_a_reason(method, draws, reason):
    low, high, why = method(draws, 0.95)
    assert math.isnan(low) and math.isnan(high)
    assert reason in why


def test_some_undefined_draws_are_left_out():
    some = Draws(0.7, np.append(EVEN, [math.nan] * 20), AROUND)
    for method in (limits.logit_normal, limits.normal, limits.bca):
        assert method(some, 0.95) == pytest.approx(method(Draws(0.7, EVEN, AROUND), 0.95))


def test_figures_may_take_several_scores_of_the_same_images():
    """The mean over seeds on a shared set, and the difference of two networks, each draw for both alike."""
    images = make(0)
    scores = np.stack([images.score, images.score + 1e-4])

    def figures(label, score, weight):
        areas = jax.vmap(discrimination.auroc, (None, 0, None))(label, score, weight)
        return {"mean": areas.mean(), "difference": areas[1] - areas[0]}

    found = bootstrap.intervals(key(), figures, [images._replace(score=scores)], draws=200)[0]
    one = bootstrap.intervals(key(), auroc, [images], draws=200, methods={})[0]["auroc"]
    assert found["mean"][:3] == pytest.approx(one[:3], rel=1e-4)  # equal ranks
    assert (found["difference"].value, found["difference"].reason) == (0, "same_in_every_draw")


def test_a_difference_of_one_pair_is_that_of_a_metric_of_both_scores():
    """By patient and with the same draws on both sides: else the interval would be some times as wide."""
    images, other = make(0), make(0).score + np.random.default_rng(1).normal(0, 0.2, 70)

    def difference(label, score, weight):
        first, second = jax.vmap(discrimination.auroc, (None, 0, None))(label, score, weight)
        return {"auroc": second - first}

    both = images._replace(score=np.stack([images.score, other]))
    expected = bootstrap.intervals(key(), difference, [both], draws=200, methods={})[0]["auroc"]
    got = bootstrap.differences(key(), auroc, [(images, images._replace(score=other))], draws=200)["auroc"]
    assert got[2:5] == pytest.approx(expected[:3], abs=1e-6)
    assert got.b - got.a == pytest.approx(got.value)
    many = bootstrap.differences(key(), auroc, [(images, images._replace(score=other))], draws=200, cells=256)
    assert many["auroc"][2:5] == pytest.approx(expected[:3], abs=2e-3)  # the jackknife is by groups


def test_a_difference_over_pairs_draws_all_their_patients_together():
    """Against draws by hand: a patient of two pairs counts in both as often, and one of neither pair's in none."""
    rng, pairs = np.random.default_rng(3), []
    for people in (np.arange(25), np.arange(5, 30)):
        patient = np.repeat(people, 3)
        label = (rng.random(75) < 0.4).astype(int)
        pairs.append(tuple(Images(label, label + rng.normal(0, sd, 75), patient) for sd in (1.5, 0.7)))
    got = bootstrap.differences(key(), auroc, pairs, draws=200)["auroc"]

    def by_hand(times):
        areas = [[roc_auc_score(x.label, x.score, sample_weight=times[x.patient]) for x in pair] for pair in pairs]
        return np.mean([b - a for a, b in areas])

    seed = [*np.asarray(jax.random.key_data(key())).tolist(), 0]
    drawn = np.array([by_hand(times) for times in cells.multiplicities(np.random.default_rng(seed), 30, 200)])
    draws = Draws(by_hand(np.ones(30)), drawn, np.array([by_hand(times) for times in 1 - np.eye(30)]))
    assert got[2:5] == pytest.approx((draws.value, *limits.bca(draws, 0.95)[:2]), abs=1e-5)
    ece = bootstrap.differences(key(), registry.Evaluation((registry.METRICS["ece"],)), [(make(0), make(0))], draws=9)
    assert ece["ece"].reason == "raised_by_resampling"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (Images(np.empty(0), np.empty(0), np.empty(0)), "label must hold an image"),
        (make(0)._replace(patient=np.arange(3)), r"one entry for each of 70 labels, got shapes \(3,\) and \(70,\)"),
        (make(0)._replace(score=np.ones((70, 2))), r"got shapes \(70,\) and \(70, 2\)"),
    ],
)
def test_wrong_images_are_refused(images, message):
    with pytest.raises(ValueError, match=message):
        bootstrap.intervals(key(), two, [images])


@pytest.mark.slow
def test_ten_runs_with_2000_draws_have_an_interval_or_a_reason():
    rng = np.random.default_rng(0)
    runs = []
    for _ in range(10):
        label = rng.integers(0, 2, 280)
        runs.append(Images(label, 1 / (1 + np.exp(-rng.normal(2 * label - 1))), rng.integers(0, 230, 280)))
    found = bootstrap.intervals(key(), registry.Evaluation(), runs)
    for run in found:
        assert set(run) == set(registry.METRICS)
        for name, one in run.items():
            assert (one.reason == "") == (one.low < one.value < one.high), name
            assert bool(one.reason) == (name == "ece")


def binormal(rng, sets, patients, auroc, share=0.43, images=3, correlation=0.5):
    """Labels by patient and scores [sets, patients * images] of true AUROC Phi(d / sqrt 2), correlated within patients.

    A score is normal with mean d for a positive and 0 for a negative, and SD 1; half of its variance is the patient's.
    """
    shape = (sets, patients, images)
    label = np.broadcast_to(rng.random((sets, patients, 1)) < share, shape)
    own, common = rng.normal(size=shape), rng.normal(size=(sets, patients, 1))
    distance = math.sqrt(2) * stats.norm.ppf(auroc)
    value = distance * label + math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
    score = stats.norm.cdf(value - distance / 2)  # into 0..1, in order; 0.5 has specificity Phi(distance / 2)
    return label.reshape(sets, -1).astype(np.int32), score.reshape(sets, -1).astype(np.float32)


METHODS = {"auroc": limits.logit_normal, "specificity": limits.bca}


def replicates(figures, label, score, weight, patient, times):
    """Each draw's figures, with every image counted as often as its patient: name -> [D]."""
    return jax.lax.map(lambda drawn: figures(label, score, weight * drawn[patient]), times)


def simulated(sets, patients, draws, figures, auroc=0.85):
    """How often 95 % intervals by patient hold the truth, and those of AUROC by image: name -> share of the sets."""
    label, score = binormal(np.random.default_rng(patients), sets, patients, auroc)
    images = 3 * patients
    by_image, ones = np.arange(images), np.ones(images, np.float32)
    by_patient = by_image // 3
    true = {"specificity": float(stats.norm.cdf(stats.norm.ppf(auroc) / math.sqrt(2)))}

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, None, 0))
    def resample(label, score, patient, times):
        return replicates(figures, label, score, ones, patient, times)

    def times(rng, count):
        """Of each set of a piece; room for either count, so that one program serves both."""
        drawn = cells.multiplicities(rng, count, piece * draws).reshape(piece, draws, count)
        return np.pad(drawn, [(0, 0), (0, 0), (0, images - count)])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0))
    def value_and_jackknife(label, score):
        given = (label, score, ones)
        return figures(*given), replicates(figures, *given, by_patient, 1 - jnp.eye(patients))

    held, piece = [], 10  # sets at once: more spill from the cache
    for i in range(0, sets, piece):
        rng = np.random.default_rng(i)
        given = (label[i : i + piece], score[i : i + piece])
        value, without = jax.device_get(value_and_jackknife(*given))
        drawn = jax.device_get(resample(*given, by_patient, times(rng, patients)))
        naive = jax.device_get(resample(*given, by_image, times(rng, images)))
        for s in range(piece):
            own = {n: Draws(float(v[s]), drawn[n][s], without[n][s]) for n, v in value.items()}
            ends = {name: METHODS[name](own[name], 0.95) for name in own}
            ends["naive"] = limits.logit_normal(own["auroc"]._replace(replicates=naive["auroc"][s]), 0.95)
            ends["delong"] = delong.interval(label[i + s], score[i + s], by_patient)[1:]
            ends["naive delong"] = delong.interval(label[i + s], score[i + s])[1:]
            held.append({name: low <= true.get(name, auroc) <= high for name, (low, high, _) in ends.items()})
    return {name: float(np.mean([one[name] for one in held])) for name in held[0]}


@pytest.mark.slow
def test_intervals_by_patient_cover_in_a_small_simulation():
    """200 sets: standard error 0.015 at 0.95. The next test has the claim."""
    share = simulated(sets=200, patients=60, draws=300, figures=auroc)
    assert min(share["auroc"], share["delong"]) > 0.9
    assert max(share["naive"], share["naive delong"]) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("patients", [60, 100])
def test_intervals_by_patient_cover_and_by_image_do_not(patients):
    """2,000 sets, standard error 0.005."""
    share = simulated(sets=2_000, patients=patients, draws=1_000, figures=two)
    assert 0.93 <= share["auroc"] <= 0.97
    assert 0.93 <= share["specificity"] <= 0.97
    assert 0.93 <= share["delong"] <= 0.97
    assert share["naive"] < 0.9
    assert share["naive delong"] < 0.9


def test_simulated_figures_are_the_true_ones():
    label, score = binormal(np.random.default_rng(0), 1, 60_000, 0.85)
    got = jax.jit(two)(label[0], score[0], jnp.ones(180_000))
    # Standard error of either is some 0.0015.
    assert float(got["auroc"]) == pytest.approx(0.85, abs=0.005)
    assert float(got["specificity"]) == pytest.approx(stats.norm.cdf(stats.norm.ppf(0.85) / math.sqrt(2)), abs=0.005)
