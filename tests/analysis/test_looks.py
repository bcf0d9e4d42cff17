"""A row for each map, in any pieces; baselines by hand."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import localisation, looks, similarity
from tests.analysis import looks_cases as cases


def test_rows_are_the_figures():
    where = cases.regions()
    own = cases.maps(where, seed=3, strength=2.0, rows=np.array([5, 2, 9]))
    own.maps[1] = 0
    found = looks.figures(own, where)
    assert list(found.columns) == list(looks.COLUMNS)
    assert list(found["image"]) == ["i05", "i02", "i09"] and (found["seed"] == 3).all()
    masks = where.masks[[5, 2, 9]]
    np.testing.assert_array_equal(found["energy"], localisation.energy_share(own.maps, masks))
    np.testing.assert_array_equal(found["pointing"], localisation.pointing_game(own.maps, masks))
    np.testing.assert_array_equal(found["zero"], [False, True, False])
    assert found["energy"][1] == found["pointing"][1] == found["area"][1] == 25 / 400
    near = looks.figures(own, where, tolerance=3)
    np.testing.assert_array_equal(near["pointing"], localisation.pointing_game(own.maps, masks, 3))


def test_streaming_in_pieces_changes_nothing():
    where = cases.regions()
    own = cases.maps(where)
    pieces = [own._replace(**{k: getattr(own, k)[s] for k in ("seed", "image", "patient", "maps")}) for s in (
        slice(0, 7), slice(7, None))]  # fmt: skip
    together = pd.concat([looks.figures(piece, where) for piece in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(together, looks.figures(own, where))
    ranks = np.concatenate([looks.reduce(piece).ranks for piece in pieces])
    np.testing.assert_array_equal(ranks, looks.reduce(own).ranks)
    np.testing.assert_array_equal(ranks, similarity.ranks(similarity.reduce_maps(own.maps)))


def test_maps_of_images_without_the_target_are_passed_over():
    where = cases.regions()
    few = where._replace(image=where.image[3:5], patient=where.patient[3:5], masks=where.masks[3:5])
    assert list(looks.figures(cases.maps(where), few)["image"]) == ["i03", "i04"]
    none = where._replace(image=where.image[:0], patient=where.patient[:0], masks=where.masks[:0])
    assert looks.figures(cases.maps(where), none).empty


def test_baselines_by_hand():
    """Two patients, three images of 2x2: of the mean box a patient's own boxes are left out."""
    masks = np.array([[[1, 0], [0, 0]], [[1, 1], [0, 0]], [[0, 1], [0, 1]]], bool)
    where = looks.Regions("box", np.array(["a", "b", "c"]), np.array(["p", "p", "q"]), masks)
    found = looks.baselines(where).set_index(["network", "image"])
    assert list(found.loc["area", "energy"]) == list(found.loc["area", "pointing"]) == [0.25, 0.5, 0.5]
    np.testing.assert_allclose(found.loc["centre", "energy"], [0.25, 0.5, 0.5])  # four equal pixels
    # Of a and b the map is c's mask; of c it is the mean of a's and b's: 1, 1/2 above.
    np.testing.assert_allclose(found.loc["mean_box", "energy"], [0, 0.5, 1 / 3])
    np.testing.assert_allclose(found.loc["mean_box", "pointing"], [0, 0.5, 0])
    assert (found["seed"] == -1).all() and (found["method"] == "").all()


def test_lungs_and_a_single_patient_have_no_mean_box():
    for where in (cases.regions(target="lungs"), cases.regions(patients=1)):
        assert set(looks.baselines(where)["network"]) == {"area", "centre"}
    assert "mean_box" not in looks.expected("lungs") and "mean_box" in looks.expected("box")


def test_an_empty_mask_has_no_figure():
    where = cases.regions()
    where.masks[4] = False
    for found in (looks.figures(cases.maps(where), where), looks.baselines(where)):
        empty = found["image"] == "i04"
        assert found.loc[empty, list(looks.FIGURES)].isna().all(axis=None)
        assert found.loc[~empty, list(looks.FIGURES)].notna().all(axis=None)


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
def test_what_does_not_fit_is_named(change, message):
    where = cases.regions()
    with pytest.raises(ValueError, match=message):
        looks.figures(*change(cases.maps(where), where))
