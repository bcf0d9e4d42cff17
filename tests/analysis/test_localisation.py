"""Maps beside regions: metrics by hand, maps without a network, a row for each map."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import agreement, localisation
from cxrjax.models import augment
from cxrjax.storage import store
from tests.analysis import looks_cases as cases


def boxes(*rows):
    return pd.DataFrame([(i, "Pneumonia", *box) for i, box in rows], columns=list(store.BOX_COLUMNS))


def random_case(n=6, side=12):
    rng = np.random.default_rng(0)
    masks = rng.random((n, side, side)) < rng.uniform(0.1, 0.6, (n, 1, 1))
    return rng.gamma(0.5, 1.0, (n, side, side)).astype(np.float32), masks


def test_boxes_by_hand():
    """8 pixels a side, crop of 6 from offset 1; a pixel counts if its centre lies inside.

    Box of a: centres 2.5 to 4.5 in x (2.4..4.6), 1.5 in y (1.5..2.4: its upper edge is the centre, and belongs to it).
    """
    table = boxes(("b", (0.5, 0.5, 0.25, 0.25)), ("a", (2.4 / 8, 1.5 / 8, 2.2 / 8, 0.9 / 8)))
    found = localisation.box_masks(table, ["a", "b"], side=8, crop=6)
    expected = np.zeros((2, 6, 6), bool)
    expected[0, 0, 1:4] = True
    expected[1, 3:5, 3:5] = True
    np.testing.assert_array_equal(found.masks, expected)
    np.testing.assert_array_equal(found.kept, [1, 1])


def test_a_lower_edge_is_not_inside():
    """A box from centre to centre has one of them; two side by side share no pixel and leave none out."""
    halves = (("a", (0.125, 0.125, 0.25, 0.25)), ("b", (0.375, 0.125, 0.25, 0.25)))
    one, other = localisation.box_masks(boxes(*halves), ["a", "b"], side=4, crop=4).masks
    assert one.sum() == other.sum() == 1 and not (one & other).any()
    assert one[0, 0] and other[0, 1]


def test_boxes_of_an_image_are_united_and_what_the_crop_cuts_is_told():
    """a: 2x2 and 2x2 pixels that overlap in one; b: half outside; c: wholly."""
    rows = (
        ("a", (0.25, 0.25, 0.25, 0.25)), ("a", (0.375, 0.375, 0.25, 0.25)), ("b", (0, 0.5, 0.25, 0.25)),
        ("c", (0, 0, 0.125, 1)),
    )  # fmt: skip
    found = localisation.box_masks(boxes(*rows), ["a", "b", "c"], side=8, crop=6)
    assert list(found.masks.sum(axis=(1, 2))) == [7, 2, 0]
    np.testing.assert_allclose(found.kept, [1, 0.5, 0])


def test_the_crop_is_that_of_validation():
    image = np.arange(256 * 256).reshape(1, 256, 256)
    centre = [[14, 14]]  # half of 256 - 227
    expected = augment.crop_flip(image, np.array(centre, np.int32), np.array([False]), 227)
    np.testing.assert_array_equal(localisation.crop_masks(image, 227), expected)
    np.testing.assert_array_equal(localisation.crop_masks(localisation.crop_masks(image, 227), 227), expected)
    whole = localisation.box_masks(boxes(("a", (0.25, 0.5, 0.125, 0.125))), ["a"], 256, 227).masks[0]
    assert whole.shape == (227, 227)
    np.testing.assert_array_equal(np.flatnonzero(whole.any(axis=0)), np.arange(64 - 14, 96 - 14))
    np.testing.assert_array_equal(np.flatnonzero(whole.any(axis=1)), np.arange(128 - 14, 160 - 14))


def test_figures_by_hand():
    maps = np.array([[[1, 2], [3, 4]], [[0, 5], [5, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]], np.float32)
    masks = np.array([[[0, 1], [0, 1]], [[0, 1], [0, 0]], [[1, 1], [1, 0]], [[0, 0], [0, 0]]], bool)
    np.testing.assert_allclose(localisation.energy_share(maps, masks), [0.6, 0.5, 0.75, np.nan])
    np.testing.assert_allclose(localisation.pointing_game(maps, masks), [1, 0.5, 0.75, np.nan])
    np.testing.assert_allclose(localisation.area_share(masks), [0.5, 0.25, 0.75, 0])
    np.testing.assert_array_equal(localisation.is_zero(maps), [False, False, True, False])


def test_tolerance_by_hand():
    """A maximum two rows and one column off the mask is sqrt(5) pixels away."""
    maps, masks = np.zeros((1, 5, 5), np.float32), np.zeros((1, 5, 5), bool)
    maps[0, 4, 3], masks[0, 2, 2] = 1, True
    for tolerance, hit in ((0, 0), (2, 0), (2.3, 1)):
        assert localisation.pointing_game(maps, masks, tolerance)[0] == hit


def test_scale_changes_nothing():
    maps, masks = random_case()
    for scale in (1e-30, 3, 1e30):
        scaled = (maps * np.float32(scale)).astype(np.float32)
        # A tiny map rounds to float32's denormals in places: 1e-6.
        np.testing.assert_allclose(*(localisation.energy_share(m, masks) for m in (maps, scaled)), rtol=1e-6)
        np.testing.assert_array_equal(*(localisation.pointing_game(m, masks) for m in (maps, scaled)))


def test_a_map_that_is_the_mask_lies_inside_and_a_uniform_one_has_the_area():
    _, masks = random_case()
    exact = localisation.energy_share(masks * np.float32(0.1), masks)
    np.testing.assert_array_equal(exact, 1)
    np.testing.assert_array_equal(localisation.pointing_game(masks.astype(np.float32), masks), 1)
    for level in (0, 0.1):
        uniform = np.full(masks.shape, level, np.float32)
        for figure in (localisation.energy_share, localisation.pointing_game):
            np.testing.assert_allclose(figure(uniform, masks), localisation.area_share(masks), rtol=1e-12)


def test_inside_and_outside_add_up():
    maps, masks = random_case()
    for figure in (localisation.energy_share, localisation.pointing_game):
        np.testing.assert_allclose(figure(maps, masks) + figure(maps, ~masks), 1)


def test_figures_go_with_their_images():
    maps, masks = random_case()
    order = np.random.default_rng(1).permutation(len(maps))
    for figure in (localisation.energy_share, localisation.pointing_game):
        np.testing.assert_array_equal(figure(maps[order], masks[order]), figure(maps, masks)[order])


def test_the_centre_prior_is_a_gaussian_in_the_middle():
    prior = localisation.centre_prior(227)
    assert prior.shape == (227, 227) and prior[113, 113] == prior.max() == 1
    assert prior[113, 113 + 57] == pytest.approx(np.exp(-0.5 * (57 / (227 * 0.25)) ** 2))  # one SD further right
    for turned in (prior.T, prior[::-1], prior[:, ::-1]):
        np.testing.assert_array_equal(turned, prior)
    assert (localisation.centre_prior(4) == localisation.centre_prior(4).max()).sum() == 4


def test_mean_positions_leave_out_all_images_of_the_patient():
    _, masks = random_case(6)
    patient = np.array(["p", "q", "p", "r", "q", "p"])
    found = list(localisation.mean_positions(masks, patient))
    assert sorted(np.concatenate([rows for rows, _ in found])) == list(range(6))
    for rows, mean in found:
        (own,) = set(patient[rows])
        np.testing.assert_allclose(mean, masks[patient != own].mean(axis=0), rtol=1e-6)
    changed = masks.copy()
    changed[patient == "p"] = ~changed[patient == "p"]
    after = dict(zip("pqr", (mean for _, mean in localisation.mean_positions(changed, patient)), strict=True))
    np.testing.assert_array_equal(after["p"], found[0][1])
    assert (after["q"] != found[1][1]).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: localisation.crop_masks(np.zeros((1, 256, 250), bool), 227), r"masks must be \[n, side, side\].*250"),
        (lambda: localisation.crop_masks(np.zeros((1, 200, 200), bool), 227), "at least 227"),
        (
            lambda: localisation.box_masks(boxes(("a", (0, 0, 1, 1))), ["a", "b"], 256, 227),
            "got none for 1, b among them",
        ),
        (
            lambda: localisation.box_masks(boxes(("a", (0, 0, np.nan, 1))), ["a"], 256, 227),
            "boxes must be finite.*of a",
        ),
        (lambda: figure((1, 2, 2), (1, 2, 3)), r"alike, got \(1, 2, 2\) and \(1, 2, 3\)"),
        (lambda: localisation.energy_share(-np.ones((1, 2, 2)), np.ones((1, 2, 2), bool)), "nonnegative.*got -1"),
        (lambda: localisation.energy_share(np.full((1, 2, 2), np.nan), np.ones((1, 2, 2), bool)), "finite, got nan"),
        (lambda: localisation.energy_share(np.ones((1, 2, 2)), np.ones((1, 2, 2))), "masks must be bool, got float64"),
        (
            lambda: localisation.pointing_game(*random_case(), tolerance=-1),
            "tolerance must be 0 or more pixels, got -1",
        ),
        (lambda: list(localisation.mean_positions(np.ones((2, 2, 2), bool), np.array("pp"))), "two patients or more"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def figure(shape, other):
    return localisation.energy_share(np.ones(shape), np.ones(other, bool))


def test_rows_are_the_figures():
    where = cases.regions()
    own = cases.maps(where, seed=3, strength=2.0, rows=np.array([5, 2, 9]))
    own.maps[1] = 0
    found = localisation.score_maps(own, where)
    assert list(found.columns) == list(localisation.COLUMNS)
    assert list(found["image"]) == ["i05", "i02", "i09"] and (found["seed"] == 3).all()
    masks = where.masks[[5, 2, 9]]
    np.testing.assert_array_equal(found["energy"], localisation.energy_share(own.maps, masks))
    np.testing.assert_array_equal(found["pointing"], localisation.pointing_game(own.maps, masks))
    np.testing.assert_array_equal(found["zero"], [False, True, False])
    assert found["energy"][1] == found["pointing"][1] == found["area"][1] == 25 / 400
    near = localisation.score_maps(own, where, tolerance=3)
    np.testing.assert_array_equal(near["pointing"], localisation.pointing_game(own.maps, masks, 3))


def test_streaming_in_pieces_changes_nothing():
    where = cases.regions()
    own = cases.maps(where)
    pieces = [own._replace(**{k: getattr(own, k)[s] for k in ("seed", "image", "patient", "maps")}) for s in (
        slice(0, 7), slice(7, None))]  # fmt: skip
    together = pd.concat([localisation.score_maps(piece, where) for piece in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(together, localisation.score_maps(own, where))
    ranks = np.concatenate([agreement.reduce(piece).ranks for piece in pieces])
    np.testing.assert_array_equal(ranks, agreement.reduce(own).ranks)
    np.testing.assert_array_equal(ranks, agreement.ranks(agreement.reduce_maps(own.maps)))


def test_maps_of_images_without_the_target_are_passed_over():
    where = cases.regions()
    few = where._replace(image=where.image[3:5], patient=where.patient[3:5], masks=where.masks[3:5])
    assert list(localisation.score_maps(cases.maps(where), few)["image"]) == ["i03", "i04"]
    none = where._replace(image=where.image[:0], patient=where.patient[:0], masks=where.masks[:0])
    assert localisation.score_maps(cases.maps(where), none).empty


def test_baselines_by_hand():
    """Two patients, three images of 2x2: of the mean box a patient's own boxes are left out."""
    masks = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 1], [0, 1]]], bool)
    where = localisation.Regions("box", np.array(["a", "b", "c"]), np.array(["p", "p", "q"]), masks)
    found = localisation.baselines(where).set_index(["network", "image"])
    assert list(found.loc["area", "energy"]) == list(found.loc["area", "pointing"]) == [0.25, 0.5, 0.5]
    np.testing.assert_allclose(found.loc["centre", "energy"], [0.25, 0.5, 0.5])  # four equal pixels
    # Of a and b the map is c's mask; of c it is the mean of a's and b's: 1, 1/2 above.
    np.testing.assert_allclose(found.loc["mean_box", "energy"], [0, 0.5, 1 / 3])
    np.testing.assert_allclose(found.loc["mean_box", "pointing"], [0, 0.5, 0])
    assert (found["seed"] == -1).all() and (found["method"] == "").all()


def test_lungs_and_a_single_patient_have_no_mean_box():
    for where in (cases.regions(target="lungs"), cases.regions(patients=1)):
        assert set(localisation.baselines(where)["network"]) == {"area", "centre"}
    assert "mean_box" not in localisation.expected("lungs") and "mean_box" in localisation.expected("box")


def test_an_empty_mask_has_no_figure():
    where = cases.regions()
    where.masks[4] = False
    for found in (localisation.score_maps(cases.maps(where), where), localisation.baselines(where)):
        empty = found["image"] == "i04"
        assert found.loc[empty, list(localisation.METRICS)].isna().all(axis=None)
        assert found.loc[~empty, list(localisation.METRICS)].notna().all(axis=None)


def other_patient(where):
    return where._replace(patient=np.array(["x", *where.patient[1:]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, r: (m, other_patient(r)), "must name the same patient of i00"),
        (lambda m, r: (m, r._replace(image=np.array(["i01", *r.image[1:]]))), "16 images, 15 of them different"),
        (lambda m, r: (m._replace(seed=m.seed[1:]), r), r"for each map, got \[15, 16, 16, 16\]"),
        (lambda m, r: (m._replace(network="area"), r), "whose name is none of .*got area"),
    ],
)
def test_maps_and_regions_that_do_not_fit_are_named(change, message):
    where = cases.regions()
    with pytest.raises(ValueError, match=message):
        localisation.score_maps(*change(cases.maps(where), where))
