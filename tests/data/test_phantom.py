"""The procedural radiographs: truth by construction, reproducibility, and that the task is a task."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxrjax.data.phantom import Phantom, anatomy, draw_exposure, expose, patient, phantom, radiograph
from cxrjax.data.phantom.chest import CARDIOMEGALY_SCALE, FINDINGS, attenuation, draw_chest, pneumonia
from cxrjax.storage.store import COLUMNS

VOCABULARY = {
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "No Finding",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
}


@pytest.fixture(scope="module")
def drawn() -> Phantom:
    return phantom(120, seed=3)


@pytest.fixture(scope="module")
def labels(drawn: Phantom) -> list[set[str]]:
    return [set(text.split("|")) for text in drawn.table["labels"]]


def posed(seed: int, portable: bool = False):
    rng = np.random.default_rng(seed)
    build = anatomy.draw_anatomy(rng, female=bool(seed % 2), age=50)
    return rng, draw_chest(build, anatomy.draw_pose(rng, portable))


def test_shapes_and_types(drawn: Phantom):
    n = len(drawn.table)
    assert drawn.images.shape == drawn.lungs.shape == (n, 256, 256)
    assert drawn.images.dtype == np.uint8 and drawn.lungs.dtype == bool and len(drawn.boxes) == n
    assert tuple(drawn.table.columns) == COLUMNS
    assert drawn.table["age"].dtype.kind == drawn.table["followup"].dtype.kind == "i"
    assert set(drawn.table["view"]) == {"PA", "AP"} and set(drawn.table["sex"]) == {"M", "F"}


def test_same_seed_same_set_and_other_seed_another():
    first, again, other = phantom(3, seed=5), phantom(3, seed=5), phantom(3, seed=6)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.lungs, again.lungs)
    assert first.table.equals(again.table) and first.boxes == again.boxes
    assert not np.array_equal(first.images[0], other.images[0])


def test_a_patient_does_not_depend_on_how_many_there_are(drawn: Phantom):
    few = phantom(6, seed=3)
    n = len(few.table)
    np.testing.assert_array_equal(few.images, drawn.images[:n])
    assert few.table.equals(drawn.table[:n]) and few.boxes == drawn.boxes[:n]
    rows = [row for row, _ in patient(5, seed=3)]
    assert rows == few.table[few.table["patient"] == "phantom_00005"].to_dict("records")


def test_names_are_unique_sorted_and_numbered(drawn: Phantom):
    table = drawn.table
    assert table["image"].is_unique and table["image"].is_monotonic_increasing
    assert table["image"][0] == "phantom_00000_000.png"
    rebuilt = table["patient"] + table["followup"].map("_{:03d}.png".format)
    assert (rebuilt == table["image"]).all()
    assert (table.groupby("patient")["followup"].max() + 1 == table.groupby("patient").size()).all()
    assert table.groupby("patient")[["age", "sex"]].nunique().to_numpy().max() == 1


def test_labels_are_from_nih_and_alphabetical(drawn: Phantom, labels: list[set[str]]):
    assert set().union(*labels) == VOCABULARY
    assert all(text == "|".join(sorted(names)) for text, names in zip(drawn.table["labels"], labels, strict=True))
    assert all(names == {"No Finding"} for names in labels if "No Finding" in names)


def test_boxes_go_with_pneumonia_and_lie_in_the_chest(drawn: Phantom, labels: list[set[str]]):
    for names, boxes, lung in zip(labels, drawn.boxes, drawn.lungs, strict=True):
        assert bool(boxes) == ("Pneumonia" in names)
        for x, y, w, h in boxes:
            assert w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= 256 and y + h <= 256
            rows, columns = np.flatnonzero(lung.any(axis=1)), np.flatnonzero(lung.any(axis=0))
            assert rows[0] <= y + h / 2 <= rows[-1] + 10  # some 10 pixels of lung lie behind the dome
            assert columns[0] <= x + w / 2 <= columns[-1]


@pytest.mark.parametrize("seed", range(6))
def test_a_box_holds_lung_or_heart(seed: int):
    rng, chest = posed(seed)
    x, y, w, h = pneumonia(chest, rng).box
    assert (chest.lung | chest.heart)[y : y + h, x : x + w].mean() > 0.4


@pytest.mark.parametrize("seed", range(6))
def test_pneumonia_brightens_its_box_and_nothing_far_from_it(seed: int):
    rng, chest = posed(seed, portable=bool(seed % 2))
    opacity, exposure = pneumonia(chest, rng), draw_exposure(rng, portable=False)
    exposure = exposure._replace(shutter=(0, 0, 0, 0))
    before, after = attenuation(chest), attenuation(chest, (opacity,))
    assert (after >= before).all()
    # The same noise in both, so that the difference is the opacity's alone.
    without, image = (expose(np.random.default_rng(1), nepers, exposure).astype(int) for nepers in (before, after))
    x, y, w, h = opacity.box
    assert (image - without)[y : y + h, x : x + w].mean() > 1
    assert (image == without)[after - before < 1e-6].mean() > 0.95  # blur carries a little over the margin


@pytest.mark.parametrize("label", ["Atelectasis", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax"])
def test_every_other_finding_changes_the_lung_only(label: str):
    rng, chest = posed(11)
    finding = FINDINGS[label](chest, rng)
    change = np.abs(attenuation(chest, (finding,)) - attenuation(chest))
    assert finding.box is None
    assert change.max() > 0.15
    assert change[chest.air < 1e-6].max() < 0.05 or label == "Nodule"


def test_cardiomegaly_enlarges_the_heart():
    build = anatomy.draw_anatomy(np.random.default_rng(0), female=False, age=60)
    pose = anatomy.draw_pose(np.random.default_rng(1), portable=False)
    wide = draw_chest(build, pose._replace(heart=CARDIOMEGALY_SCALE[0]))
    assert wide.heart.sum() > 1.2 * draw_chest(build, pose).heart.sum()
    labelled, healthy = (
        radiograph(np.random.default_rng(4), build, labels) for labels in (("Cardiomegaly",), ("No Finding",))
    )
    assert labelled.lung.sum() < healthy.lung.sum()


def test_lungs_are_darker_than_mediastinum(drawn: Phantom, labels: list[set[str]]):
    contrast = []
    for image, lung in zip(drawn.images, drawn.lungs, strict=True):
        rows = np.flatnonzero(lung.any(axis=1))
        middle = slice(rows[0] + len(rows) // 2, rows[0] + len(rows) * 3 // 4)
        columns = np.flatnonzero(lung[middle].any(axis=0))
        centre = (columns[0] + columns[-1]) // 2
        contrast.append(image[middle, centre - 5 : centre + 5].mean() - image[lung].mean())
    healthy = np.array([names == {"No Finding"} for names in labels])
    assert np.mean(contrast) > 30
    assert np.min(np.array(contrast)[healthy]) > 10  # disease may whiten a lung


def test_lungs_fill_a_plausible_share(drawn: Phantom):
    share = drawn.lungs.mean(axis=(1, 2))
    assert share.min() > 0.06 and share.max() < 0.4


def test_proportions(drawn: Phantom, labels: list[set[str]]):
    # 120 patients, images of one patient alike: the standard deviation of a share is about 0.04.
    pneumonia = np.mean(["Pneumonia" in names for names in labels])
    healthy = np.mean([names == {"No Finding"} for names in labels])
    assert 0.15 < pneumonia < 0.35 and 0.28 < healthy < 0.52
    assert 1.3 < len(labels) / drawn.table["patient"].nunique() < 1.65
    kinds = [
        {"Pneumonia" in names for names in np.array(labels)[group]}
        for group in drawn.table.groupby("patient").indices.values()
    ]
    assert any(len(kind) == 2 for kind in kinds)  # as at NIH, a patient may be on both sides


def test_neither_brightness_nor_metadata_gives_the_answer(drawn: Phantom, labels: list[set[str]]):
    pneumonia = np.array(["Pneumonia" in names for names in labels])
    compared = pneumonia | np.array([names == {"No Finding"} for names in labels])
    # About 45 against 70 images: the standard error of a chance AUROC is 0.05.
    for score in (drawn.images.mean(axis=(1, 2)), drawn.table["view"] == "AP", drawn.table["age"]):
        assert 0.35 < roc_auc_score(pneumonia[compared], np.asarray(score)[compared]) < 0.68


@pytest.mark.parametrize(
    ("n_patients", "seed", "name"), [(0, 0, "n_patients"), (100_001, 0, "n_patients"), (1, -1, "seed")]
)
def test_refuses_what_it_cannot_draw(n_patients: int, seed: int, name: str):
    with pytest.raises(ValueError, match=name):
        phantom(n_patients, seed)
