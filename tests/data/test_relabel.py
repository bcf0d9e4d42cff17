"""Labels of a table in place of the data's own: who is matched, what changes, what for."""

import numpy as np
import pandas as pd
import pytest

from cxrjax.base import InputError, tasks
from cxrjax.data import cohort, relabel
from cxrjax.data.phrases import Vocabulary
from cxrjax.storage.store import About, ImageStore, label_counts

LABELS = ["Pneumonia", "No Finding", "Effusion", "No Finding", "Pneumonia", "No Finding"]


@pytest.fixture
def store():
    table = pd.DataFrame(
        {"image": [f"{i}.png" for i in range(6)], "labels": LABELS, "patient": list("abcdef"), "view": ""}
    )
    return ImageStore(np.zeros((6, 1, 1), np.uint8), table)


def about(store):
    return About("data", label_counts(store.table) | {"Mass": 3}, {}, {})


def replaced(store, tmp_path, text, purpose="both"):
    (tmp_path / "labels.csv").write_text(text)
    return relabel.replace(store, about(store), tmp_path / "labels.csv", Vocabulary(), purpose)


def test_by_name_through_the_one_vocabulary(store, tmp_path, caplog):
    caplog.set_level("INFO")
    rows = ("0.png,normal,a", "1.PNG,Infiltrate|pneumonia,a", "3,,b", "4.png,Pneumonia,b", "x.png,Mass,b", "")
    text = "\n".join(["Image Index,Finding Labels,fold", *rows])
    relabelled, told = replaced(store, tmp_path, text)
    assert list(relabelled.table["labels"]) == [
        "No Finding", "Infiltration|Pneumonia", "Effusion", "", "Pneumonia", "No Finding"
    ]  # fmt: skip
    assert told.relabelled == {"images": 4, "of": 6, "changed": 3, "unknown": 1, "purpose": "both"}
    # What is listed and not there stays as it was.
    assert told.listed == label_counts(relabelled.table) | {"Mass": 3}
    assert "not read: fold; 1 of 5 rows are of images that are not in the data" in caplog.text
    assert "4 of 6 images, 3 of which change, 1 to unknown" in caplog.text


def test_columns_of_findings_and_two_rows_of_an_image(store, tmp_path, caplog):
    text = "image,Pneumonia,No Finding\n0.png,0,1\n1.png,1,0\n1.png,0,1\n"
    relabelled, told = replaced(store, tmp_path, text)
    assert list(relabelled.table["labels"][:3]) == ["No Finding", "", "Effusion"]
    assert told.relabelled["unknown"] == 1 and "several labels" in caplog.text


def test_the_order_of_findings_is_no_change(store, tmp_path):
    store = store._replace(table=store.table.assign(labels="Edema|Mass"))
    assert replaced(store, tmp_path, "image,labels\n0.png,Mass|Edema\n")[1].relabelled["changed"] == 0


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("image,labels\na.png,Mass\n", "fits no image of the data: the table has 'a.png', the data '0.png'"),
        ("image,labels\n0.png,Masss\n", "1 label is not understood: 'Masss'"),
        ("image,fold\n0.png,1\n", "not understood: 'fold'"),
        ("name,labels\n0.png,Mass\n", "lacks the column"),
        ("", "is empty"),
    ],
)
def test_tables_that_do_not_serve(store, tmp_path, text, line):
    with pytest.raises(InputError, match=line):
        replaced(store, tmp_path, text)


def test_labels_for_training_and_for_evaluation(store, tmp_path):
    text = "image,labels\n0.png,No Finding\n1.png,Mass\n5.png,Pneumonia\n"
    new = ["No Finding", "Mass", "Effusion", "No Finding", "Pneumonia", "Pneumonia"]
    for purpose, evaluation, training in (("training", LABELS, new), ("evaluation", new, LABELS)):
        table = replaced(store, tmp_path, text, purpose)[0].table
        assert (list(table["labels"]), list(table[relabel.TRAINING])) == (evaluation, training)


def test_training_images_take_other_labels_and_leave_if_they_are_of_no_class(store, tmp_path):
    text = "image,labels\n0.png,No Finding\n1.png,Mass\n5.png,Pneumonia\n"
    table = replaced(store, tmp_path, text, "training")[0].table
    for task in (tasks.get("p_vs_nf"), tasks.multilabel("t", "t", "t", ("Pneumonia", "Mass"))):
        drawn = cohort.eligible(store.table.replace("Effusion", "Mass"), task)
        names = store.table["image"].to_numpy()[drawn.index]
        at = {name: place for place, name in enumerate(names)}
        split = cohort.Split(np.array([at["0.png"], at["1.png"], at["4.png"]]), np.array([at["3.png"], at["5.png"]]))
        trained, of_train = relabel.trained_as(drawn, split, table[relabel.TRAINING], task)
        first = trained.label if trained.label.ndim == 1 else trained.label[:, 0]
        assert [first[at[name]] for name in ("0.png", "4.png", "5.png")] == [0, 1, 0]  # 5 is no training image
        leaves = not task.is_multilabel  # Mass is neither P nor NF
        assert list(names[of_train.train]) == ["0.png", *([] if leaves else ["1.png"]), "4.png"]
        np.testing.assert_array_equal(of_train.val, split.val)


def test_labels_by_networks_on_real_images(shared):
    """The reference table against a count by hand (pandas alone)."""
    table = pd.read_csv(shared / "nih-2k" / "Data_Entry_2017_v2020.csv").set_index("Image Index")
    given = pd.read_csv(shared / "reference" / "relabels_chexnext.csv").set_index("Image Index")["Finding Labels"]
    there = [path.name for path in (shared / "nih-2k" / "images").iterdir()]
    own = table["Finding Labels"].loc[there]
    pixels = np.zeros((len(own), 1, 1), np.uint8)
    store = ImageStore(pixels, pd.DataFrame({"image": own.index, "labels": own.to_numpy(), "patient": "a"}))
    told = relabel.replace(
        store, About("nih", {}, {}, {}), shared / "reference" / "relabels_chexnext.csv", Vocabulary(), "both"
    )[1].relabelled
    common = own.index.intersection(given.index)
    changed = sum(set(own[name].split("|")) != set(given[name].split("|")) for name in common)
    assert (told["images"], told["of"], told["unknown"]) == (1678, 1823, 0) and told["changed"] == changed == 998
