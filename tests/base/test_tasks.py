import dataclasses

import pytest

from cxrjax.base import InputError, tasks
from cxrjax.base.tasks import LabelClass, Task


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("contains", [True, True, False, False, False]),
        ("exactly", [True, False, False, False, False]),
        ("without", [False, False, True, True, False]),
    ],
)
def test_rules_by_hand(rule, expected):
    labels = ["Effusion", "Edema|Effusion", "Edema", "Pleural_Effusion", ""]
    assert [LabelClass("E", "effusion", rule, "Effusion").holds(label) for label in labels] == expected


def test_a_task_has_its_own_name(monkeypatch):
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))
    cat, dog = (LabelClass(name, name.lower(), "exactly", name) for name in ("Cat", "Dog"))
    task = tasks.register(Task("cat_vs_dog", "Cat vs Dog", "Is a cat told from a dog?", cat, dog, (1, 1)))
    assert tasks.get("cat_vs_dog") is tasks.register(task) is task and task.counted == (cat, dog)
    with pytest.raises(ValueError, match="cat_vs_dog"):
        tasks.register(dataclasses.replace(task, title="other"))
    with pytest.raises(InputError, match=r"cat_vs_dog.*dog_vs_cat"):
        tasks.get("dog_vs_cat")


@pytest.mark.parametrize(
    ("negative", "expected"),
    [
        ("No Finding", [1, 1, None, None, 0, None]),
        ("rest", [1, 1, 0, 0, 0, None]),
        ("Mass", [1, 1, 0, None, None, None]),
    ],
)
def test_two_findings_are_a_task(negative, expected):
    task = tasks.get(f"Effusion vs {negative}")
    labels = ["Effusion", "Effusion|Mass", "Mass", "Edema", "No Finding", "Mass|?"]
    sides = [1 if task.positive.holds(x) else 0 if task.negative.holds(x) else None for x in labels]
    assert sides == expected and task is tasks.get(task.name)


@pytest.mark.parametrize("name", ["Effusion vs ", " vs Mass", "Mass vs Mass", "rest vs Mass", "Effusion"])
def test_what_is_no_pair_of_findings_is_refused(name):
    with pytest.raises(InputError, match="two findings"):
        tasks.get(name)


def test_many_labels_are_binary_tasks_of_their_own():
    task = tasks.get("chestxray14")
    assert task.is_multilabel and task.outputs == 14 == len(task.published_aurocs[0].auroc)
    assert [tasks.get(part.name) for part in task.questions] == list(task.parts)
    published = [sum(p.auroc.values()) / 14 for p in task.published_aurocs]  # Wang et al. print the mean .745
    assert published[1] == pytest.approx(0.745, abs=5e-4)
    binary = tasks.get("p_vs_nf")
    assert not binary.is_multilabel and binary.outputs == 2 and binary.questions == (binary,)
