import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError, tasks
from cxrjax.base.tasks import PNEUMONIA_CLASSES, TASKS
from cxrjax.data import classes, cohort
from cxrjax.data.cohort import Cohort, Split
from cxrjax.data.sources import nih
from cxrjax.storage.store import label_counts

NF, NP = TASKS["p_vs_nf"], TASKS["p_vs_np"]
LABELS = pd.Series(["No Finding", "Pneumonia", "Effusion|Pneumonia", "Effusion", "No Finding|Effusion", "Pneumothorax"])


def table(n_positive=60, n_negative=240, images_a_patient=3, seed=0):
    """Patients with several images, some of them with and without pneumonia."""
    rng = np.random.default_rng(seed)
    n = n_positive + n_negative
    labels = np.array(["Pneumonia"] * n_positive + ["No Finding"] * n_negative)
    return pd.DataFrame(
        {
            "image": [f"{i:05d}.png" for i in rng.permutation(n)],
            "patient": rng.integers(0, n // images_a_patient, n).astype(str),
            "labels": rng.permutation(labels),
            "view": rng.choice(["PA", "AP"], n),
        }
    )


def test_classes_by_hand():
    member = {c.name: classes.members(LABELS, c) for c in PNEUMONIA_CLASSES}
    assert list(member["P"]) == [False, True, True, False, False, False]
    assert list(member["NP"]) == [True, False, False, True, True, True]
    assert list(member["NF"]) == [True, False, False, False, False, False]  # exactly No Finding


def test_counts_of_the_full_table_of_2020(shared):
    listed = nih.read_table(shared / "nih-mini" / "Data_Entry_2017_v2020.csv")[0]
    assert classes.count(label_counts(listed), PNEUMONIA_CLASSES) == {"P": 1431, "NP": 110689, "NF": 60361}
    pa = listed[listed["view"] == "PA"]
    assert classes.count(label_counts(pa), PNEUMONIA_CLASSES)["P"] == 630


def test_auto_negatives_keep_the_posters_ratio():
    assert cohort.wanted_negatives("auto", 593, 49_407, (800, 593)) == 800
    assert cohort.wanted_negatives("auto", 371, 802, (800, 593)) == 501  # 371 * 800 / 593 = 500.5
    assert cohort.wanted_negatives("auto", 371, 439, (800, 593)) == 439
    assert cohort.wanted_negatives("7", 371, 439, (800, 593)) == 7


@pytest.mark.parametrize("text", ["0", "-3", "many", "2.5", ""])
def test_negatives_that_are_no_number_are_refused(text):
    with pytest.raises(InputError, match="whole number above 0"):
        cohort.wanted_negatives(text, 10, 10, (800, 593))


def test_more_negatives_than_there_are_says_how_many_there_are():
    with pytest.raises(InputError, match=r"--negatives=500 .*: 439"):
        cohort.wanted_negatives("500", 371, 439, (800, 593))


def test_draw_takes_all_positives_and_new_negatives_each_seed():
    t = table()
    draws = [cohort.draw(t, NF, seed) for seed in range(5)]
    for c in draws:
        assert c.label.sum() == 60
        assert (1 - c.label).sum() == 81  # round(60 * 800 / 593)
        assert list(t["image"].to_numpy()[c.index]) == sorted(t["image"].to_numpy()[c.index])
        np.testing.assert_array_equal(c.label, (t["labels"] == "Pneumonia").to_numpy()[c.index])
    assert len({tuple(c.index) for c in draws}) == 5


def test_draw_and_split_do_not_depend_on_the_order_of_rows():
    t = table()
    other = t.sample(frac=1, random_state=1).reset_index(drop=True)
    for seed in range(5):
        a, b = cohort.draw(t, NP, seed), cohort.draw(other, NP, seed)
        assert list(t["image"][a.index]) == list(other["image"][b.index])
        for x, y in zip(cohort.split(a, seed), cohort.split(b, seed), strict=True):
            np.testing.assert_array_equal(x, y)


def test_view_restricts_both_classes():
    t = table()
    c = cohort.draw(t, NF, 0, view="PA")
    assert set(t["view"].to_numpy()[c.index]) == {"PA"}


def test_a_class_without_images_is_refused():
    with pytest.raises(InputError, match=r"no image of pneumonia .* they have: No Finding \(240\)"):
        cohort.draw(table(n_positive=0), NF, 0)
    with pytest.raises(InputError, match="no image of no finding"):
        cohort.draw(table(n_negative=0), NF, 0)


def test_no_patient_on_both_sides_in_100_splits_and_shares_are_kept():
    for seed in range(100):
        c = cohort.draw(table(seed=seed), NF, seed)
        s = cohort.split(c, seed)
        assert not set(c.patient[s.train]) & set(c.patient[s.val])
        assert sorted([*s.train, *s.val]) == list(range(len(c.index)))
        # 20 % of 60 and of 81; a last patient may not fit, so one image fewer is allowed for.
        assert 11 <= c.label[s.val].sum() <= 12
        assert 15 <= (1 - c.label[s.val]).sum() <= 16


def test_no_patient_on_both_sides_on_real_patients(shared):
    source = nih.scan(shared / "nih-mini")
    t = source.table[source.table["image"].isin([file.name for file in source.files])].reset_index(drop=True)
    for seed in range(20):
        for negative in (NF, NP):
            c = cohort.draw(t, negative, seed)
            s = cohort.split(c, seed)
            assert not set(c.patient[s.train]) & set(c.patient[s.val])
            assert c.label[s.val].sum() == round(0.2 * 371)


def test_image_split_is_exact_and_contaminated():
    c = cohort.draw(table(), NF, 0)
    s = cohort.split(c, 0, by="image")
    assert (c.label[s.val].sum(), len(s.val)) == (12, 12 + 16)
    both = set(c.patient[s.train]) & set(c.patient[s.val])
    share = sum(p in both for p in c.patient[s.val]) / len(s.val)
    assert share > 0
    assert cohort.contaminated_share(c, s) == pytest.approx(share)
    assert cohort.contaminated_share(c, cohort.split(c, 0)) == 0


def test_split_differs_by_seed_and_follows_the_fraction():
    c = cohort.draw(table(), NF, 0)
    assert set(cohort.split(c, 0).val) != set(cohort.split(c, 1).val)
    assert len(cohort.split(c, 0, 0.5, "image").val) == 30 + 40  # round(40.5) is even
    with pytest.raises(InputError, match=r"--val_fraction=0\.001"):
        cohort.split(c, 0, 0.001)


def test_a_patient_on_both_sides_is_refused():
    c = Cohort(np.arange(3), np.array([0, 1, 1]), np.array(["a", "b", "a"]))
    with pytest.raises(ValueError, match=r"1 patient\(s\).*a among them"):
        cohort.check_disjoint(c, Split(np.array([0, 1]), np.array([2])))


def test_an_image_without_a_label_is_in_no_class():
    labels = pd.Series(["", "No Finding"])
    assert [list(classes.members(labels, c)) for c in PNEUMONIA_CLASSES] == [
        [False, False],
        [False, True],
        [False, True],
    ]


def test_shuffled_labels_keep_their_number_and_lose_their_place():
    label = np.repeat([0, 1], [300, 100])
    found = [cohort.shuffled(label, seed) for seed in (0, 0, 1)]
    assert all(x.sum() == 100 for x in found)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()
    assert abs(found[0][300:].mean() - 0.25) < 0.15  # 3.5 standard errors of 100 images


def test_fewer_training_patients_are_among_more_of_them_and_validation_stays():
    c = cohort.draw(table(), NF, seed=3)
    whole = cohort.split(c, seed=3)
    patients = {}
    for k in (10, 20, len(np.unique(c.patient[whole.train]))):
        part = cohort.subset_train_patients(c, whole, k, seed=3)
        patients[k] = set(c.patient[part.train])
        assert len(patients[k]) == k
        np.testing.assert_array_equal(part.val, whole.val)
        # all images of the chosen patients that are in training, no others
        assert set(part.train) == {i for i in whole.train if c.patient[i] in patients[k]}
    assert patients[10] < patients[20]
    np.testing.assert_array_equal(part.train, whole.train)
    other = cohort.subset_train_patients(c, whole, 10, seed=4)
    assert set(c.patient[other.train]) != patients[10]


def test_too_few_or_too_many_training_patients_are_refused():
    c = cohort.draw(table(), NF, seed=3)
    whole = cohort.split(c, seed=3)
    with pytest.raises(InputError, match=r"--train_patients=5000 must be 1 to \d+, the patients in training, seed 3"):
        cohort.subset_train_patients(c, whole, 5000, seed=3)
    of_one = Cohort(c.index, np.where(c.patient == c.patient[whole.train][0], 1, 0), c.patient)
    with pytest.raises(InputError, match="--train_patients=1 leaves no training image of one class, seed 3"):
        cohort.subset_train_patients(of_one, whole, 1, seed=3)


def test_an_image_whose_patient_is_unknown_is_a_patient_of_its_own():
    data = table()
    data.loc[::3, "patient"] = ""
    c = cohort.draw(data, NF, seed=0)
    unknown = data["patient"].to_numpy()[c.index] == ""
    assert c.unknown == unknown.sum() > 0
    assert c.patient[unknown].tolist() == data["image"].to_numpy()[c.index][unknown].tolist()
    assert c.patient[~unknown].tolist() == data["patient"].to_numpy()[c.index][~unknown].tolist()
    assert np.isnan(cohort.contaminated_share(c, cohort.split(c, 0, by="image")))  # it cannot be told


def test_states_agree_with_the_classes_of_a_task():
    """A class of a finding is where its column is 1 or 0; unknown is in none."""
    labels = pd.Series(
        ["Pneumonia", "Edema|?", "-Pneumonia|Edema", "", "No Finding", "Edema|-Mass", "Mass|Pneumonia|?"]
    )
    (positive, absent, _), column = PNEUMONIA_CLASSES, classes.states(labels, ["Pneumonia"])[:, 0]
    np.testing.assert_array_equal(column, [1, np.nan, 0, np.nan, 0, np.nan, 1])
    assert classes.members(labels, positive).tolist() == (column == 1).tolist()
    assert classes.members(labels, absent).tolist() == (column == 0).tolist()


def test_targets_of_many_labels_know_absent_and_unknown():
    labels = pd.Series(["Effusion|Mass", "No Finding", "-Effusion", "Mass|?", ""])
    task = tasks.multilabel("t", "t", "t", ("Effusion", "Mass"))
    expected = [[1, 1], [0, 0], [0, np.nan], [np.nan, 1], [np.nan, np.nan]]
    np.testing.assert_array_equal(classes.targets(labels, task), np.array(expected, np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_rare_labels_are_split_as_evenly_as_patients_allow(seed):
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, 400, 1000)
    tendency = rng.random((400, 4)) < [0.02, 0.1, 0.3, 0.5]  # a patient's images are alike
    label = (tendency[patient] & (rng.random((1000, 4)) < 0.8)).astype(np.float32)
    label[rng.random(label.shape) < 0.1] = np.nan
    c = cohort.Cohort(np.arange(1000, dtype=np.int32), label, patient.astype(str))
    split = cohort.split(c, seed)
    assert not set(c.patient[split.train]) & set(c.patient[split.val])
    assert sorted([*split.train, *split.val]) == list(range(1000))
    shares = np.nansum(label[split.val], axis=0) / np.nansum(label, axis=0)
    rare = np.nansum(label[:, 0])
    assert abs(len(split.val) - 200) <= 5 and np.abs(shares - 0.2).max() <= max(0.04, 1.5 / rare)
    again = cohort.split(c, seed)
    assert (again.val == split.val).all() and (cohort.split(c, seed + 1).val[:50] != split.val[:50]).any()


def test_a_finding_that_no_image_has_is_refused():
    table = pd.DataFrame({"image": ["a", "b"], "labels": ["Mass", "Effusion"], "patient": ["1", "2"], "view": "PA"})
    with pytest.raises(InputError, match="no image of hernia"):
        cohort.eligible(table, tasks.multilabel("t", "t", "t", ("Mass", "Hernia")))


def test_all_negatives_take_part():
    everyone, drawn = (cohort.draw(table(), NF, 0, negatives).label for negatives in ("all", "auto"))
    assert ((1 - everyone).sum(), (1 - drawn).sum()) == (240, 81)  # round(60 * 800 / 593)
