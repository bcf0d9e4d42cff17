"""Boxes of maps against boxes that were drawn: by hand, and by counting pixels."""

import itertools

import numpy as np
import pandas as pd
import pytest

from cxrjax.analysis import detection, localisation
from cxrjax.analysis.localisation import Maps

SIDE = 24


def painted(boxes):
    """[n, SIDE, SIDE] bool of boxes with whole corners."""
    masks = np.zeros((len(boxes), SIDE, SIDE), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def random_boxes(rng, n):
    low = rng.integers(0, SIDE - 1, (n, 2))
    return np.concatenate([low, low + 1 + rng.integers(0, SIDE - low)], 1).astype(float).clip(0, SIDE)


def maps_of(heats, images, network="trained", method="grad_cam", seed=0):
    images = np.array(images)
    return Maps(network, method, np.full(len(images), seed), images, np.char.add("p", images), np.stack(heats))


def test_overlaps_are_those_of_the_pixels():
    rng = np.random.default_rng(0)
    detected, drawn = random_boxes(rng, 20), random_boxes(rng, 10)  # 200 pairs
    got = detection.overlaps(detected, drawn)
    for i, a in enumerate(painted(detected)):
        for j, b in enumerate(painted(drawn)):
            inside = (a & b).sum()
            assert got.iobb[i, j] == inside / a.sum()
            assert got.iou[i, j] == pytest.approx(inside / (a | b).sum(), rel=1e-15)


def test_a_box_around_each_region_at_either_threshold():
    heat = np.zeros((SIDE, SIDE))
    heat[2:5, 3:9] = 1.0  # below 60 of 255 where the maximum is 5
    heat[10:14, 1:4] = 2.0  # above 60 alone
    heat[11, 2] = 5.0
    heat[20, 20], heat[21, 21] = 4.0, 4.0  # corners that touch are two regions
    expected = [[1, 10, 4, 14], [2, 11, 3, 12], [20, 20, 21, 21], [21, 21, 22, 22]]
    np.testing.assert_array_equal(detection.boxes_of(heat), expected)
    np.testing.assert_array_equal(detection.boxes_of(heat * 1e-9), expected)
    assert detection.boxes_of(np.zeros((SIDE, SIDE))).shape == (0, 4)
    np.testing.assert_array_equal(detection.boxes_of(np.ones((SIDE, SIDE))), [[0, 0, SIDE, SIDE]])


def test_drawn_boxes_are_cut_at_the_crop():
    table = pd.DataFrame(
        [("a", 0.0, 0.25, 0.5, 0.5), ("a", 0.5, 0.5, 0.25, 0.25), ("b", 0.0, 0.0, 0.05, 0.05)],
        columns=["image", "x", "y", "width", "height"],
    )
    inside = detection.drawn_boxes(table, 32, SIDE)  # 4 pixels on each side are cut off
    assert list(inside) == ["a"]
    np.testing.assert_array_equal(inside["a"], [[0, 4, 12, 20], [12, 12, 20, 20]])


def test_accuracy_and_false_positives_by_hand():
    """Image a: two boxes, of which one is found and a detection lies elsewhere; b: a detection that is too large."""
    first, second = np.zeros((2, SIDE, SIDE), np.float32)
    first[2:6, 2:6], first[20:22, 20:22] = 1, 1
    second[0:20, 0:20] = 1
    drawn = {"a": np.array([[2.0, 2, 6, 6], [10, 10, 14, 14]]), "b": np.array([[0.0, 0, 10, 20]])}
    table = detection.table([detection.score_maps(maps_of([first, second, second], ["a", "b", "c"]), drawn)])
    rows = table.set_index(["criterion", "overlap"])
    assert set(table["network"]) == {"trained"} and (table["boxes"] == 3).all() and (table["images"] == 2).all()
    # IoBB of the large detection is 1/2, above 0.25 and not above 0.5.
    assert rows.loc[("iobb", 0.25), ["accuracy", "false_positives"]].tolist() == [pytest.approx(2 / 3), 0.5]
    assert rows.loc[("iobb", 0.5), ["accuracy", "false_positives"]].tolist() == [pytest.approx(1 / 3), 1.0]
    assert rows.loc[("iou", 0.5), ["accuracy", "false_positives"]].tolist() == [pytest.approx(1 / 3), 1.0]
    assert (rows["low"] <= rows["accuracy"]).all() and (rows["accuracy"] <= rows["high"]).all()


def test_the_table_is_a_count_of_pixels_over_200_random_boxes():
    """By either measure at every T; two seeds, detected boxes that overlap, touch and lie inside each other."""
    rng = np.random.default_rng(1)
    images = [f"i{i}" for i in range(100)]
    drawn = {name: random_boxes(rng, 2) for name in images}
    low = rng.integers(0, 12, (2, 100, SIDE // 4, SIDE // 4)).astype(np.float32)
    heats = low.repeat(4, 2).repeat(4, 3)  # squares of 4 pixels, so that some boxes are found at T = 0.5
    parts = [detection.score_maps(maps_of(heats[seed], images, seed=seed), drawn) for seed in (0, 1)]
    rows = detection.table(parts).set_index(["criterion", "overlap"])
    assert (rows["boxes"] == 200).all() and (rows["images"] == 100).all()
    found, wrong = np.zeros((2, 2, len(detection.OVERLAPS)))  # by measure and T
    for seed, name in itertools.product((0, 1), images):
        pairs = [
            [((a & b).sum() / a.sum(), (a & b).sum() / (a | b).sum()) for b in painted(drawn[name])]
            for a in painted(detection.boxes_of(heats[seed][images.index(name)]))
        ]
        for k, (place, least) in itertools.product(range(2), enumerate(detection.OVERLAPS)):
            for j in range(2):
                found[k, place] += any(of_detected[j][k] > least for of_detected in pairs)
            for of_detected in pairs:
                wrong[k, place] += all(overlaps[k] <= least for overlaps in of_detected)
    for measure, criterion in enumerate(detection.CRITERIA):
        part = rows.loc[criterion]
        np.testing.assert_allclose(part["accuracy"], found[measure] / 400, rtol=1e-12)
        np.testing.assert_allclose(part["false_positives"], wrong[measure] / 200, rtol=1e-12)
    assert (found[0] > found[1]).all() and (found > 0).all(axis=0)[:3].all()


def test_what_a_map_of_zeros_and_no_map_give():
    drawn = {"a": np.array([[2.0, 2, 6, 6]]), "b": np.array([[2.0, 2, 6, 6]])}
    table = detection.table([detection.score_maps(maps_of(np.zeros((2, SIDE, SIDE)), ["a", "b"]), drawn)])
    assert (table["accuracy"] == 0).all() and (table["false_positives"] == 0).all()
    assert detection.table([]).empty and list(detection.table([]).columns) == list(detection.COLUMNS)


def test_baselines_know_no_network():
    masks = painted(np.array([[0, 0, 12, 12], [0, 0, 12, 12], [12, 12, 24, 24]], float))
    where = localisation.Regions(localisation.BOX, np.array(["a", "b", "c"]), np.array(["p", "q", "r"]), masks)
    drawn = {"a": np.array([[0.0, 0, 12, 12]]), "b": np.array([[0.0, 0, 12, 12]]), "c": np.array([[12.0, 12, 24, 24]])}
    rows = detection.table([detection.baselines(where, drawn)]).set_index(["network", "criterion", "overlap"])
    assert rows.loc[("area", "iobb", 0.1), "accuracy"] == 1 and rows.loc[("area", "iobb", 0.25), "accuracy"] == 0
    # Of a and b the mean of the other two is 1/2 at either corner, which are two boxes; of c it is the wrong corner.
    assert rows.loc[("mean_box", "iou", 0.9), ["accuracy", "false_positives"]].tolist() == [pytest.approx(2 / 3), 1.0]
