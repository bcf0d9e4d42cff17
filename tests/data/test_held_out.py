"""Whom --test holds out: by the data's list, by boxes, by a file, by a share."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError, tasks
from cxrjax.base.config import names_file, test_share
from cxrjax.data import cohort, held_out
from cxrjax.data.sources.paths import find_rows
from cxrjax.storage.store import BOX_COLUMNS, ImageStore
from tests.data.test_matching import table

test_share.__test__ = False  # no test
NF = tasks.get("p_vs_nf")


@pytest.fixture
def store(tmp_path):
    """A store without pixels; an image of patient 3 has a box."""
    t = table().assign(split=np.where(table()["patient"].astype(int) % 4 == 0, "test", "train"))
    boxed = t["image"][t["patient"] == "3"].iloc[0]
    box = pd.DataFrame([(boxed, "Pneumonia", 0.1, 0.1, 0.2, 0.2)], columns=list(BOX_COLUMNS))
    box.to_csv(tmp_path / "boxes.csv", index=False)
    return ImageStore(np.zeros((len(t), 1, 1), np.uint8), t, tmp_path)


def patients(test, store, task=NF):
    return list(held_out.patients(str(test), store, cohort.eligible(store.table, task), task))


def test_the_datas_own_list(store):
    assert set(patients("official", store)) == {p for p in store.table["patient"] if int(p) % 4 == 0}
    with pytest.raises(InputError, match="--test=official: no image is in an official test list"):
        patients("official", store._replace(table=store.table.assign(split="train")))


def test_boxes_around_a_finding_or_any_of_several(store):
    assert patients("boxes", store) == ["3"]
    assert patients("boxes", store, tasks.multilabel("t", "t", "t", ("Pneumonia", "No Finding"))) == ["3"]
    with pytest.raises(InputError, match=r"--test=boxes needs boxes of effusion \(BBox_List_2017.csv\)"):
        effusion = store._replace(table=store.table.assign(labels=["Effusion", "No Finding"] * 200))
        patients("boxes", effusion, tasks.pair("Effusion", "rest"))


def test_a_file_of_names(store, tmp_path):
    chosen = store.table[store.table["patient"].isin(["5", "7"])]
    file = tmp_path / "list.txt"
    file.write_text("\n".join([*chosen["image"].iloc[::2], "", "00000_of_another_set.png"]), encoding="utf-16")
    assert set(patients(file, store)) == set(chosen["patient"].iloc[::2])
    file.write_text("a.png\n")
    with pytest.raises(InputError, match=r"list.txt names no image of the data: a.png"):
        patients(file, store)
    with pytest.raises(InputError, match="must be official, boxes, a share or a file: No such file"):
        patients(tmp_path / "nowhere", store)


@pytest.mark.parametrize("task", [NF, tasks.multilabel("t", "t", "t", ("Pneumonia", "Mass"))])
def test_a_share_is_of_each_class_and_of_the_names_alone(store, task):
    labels = store.table["labels"].where(store.table["sex"] != "F", "Mass")
    store = store._replace(table=store.table.assign(labels=labels))
    chosen = patients("0.25", store, task)
    everyone = cohort.eligible(store.table, task)
    inside = np.isin(everyone.patient, chosen)
    for side in everyone.label.reshape(len(inside), -1).T:
        assert abs(side[inside].sum() / side.sum() - 0.25) < 0.02
    other = store.table.sample(frac=1, random_state=1).reset_index(drop=True)
    assert patients("0.25", store._replace(table=other), task) == chosen


def test_a_share_is_above_0_and_below_1():
    for text in ("0", "1", "-0.1", "2"):
        with pytest.raises(InputError, match=f"--test must be a share above 0 and below 1, got {text}"):
            test_share(text)
    assert [names_file(test) for test in ("", "official", "boxes", "0.2", "list.txt")] == [False] * 4 + [True]


def test_names_are_found_as_written_else_without_case_and_suffix_else_by_file():
    images = ["p1/a.png", "p2/a.png", "B.JPG", "x/c.png"]
    assert find_rows(["p2/a.png", "a.png", "./b", "C.dcm", "c.png", "d", r"p1\A"], images).tolist() == [
        1, -1, 2, 3, 3, -1, 0
    ]  # fmt: skip
