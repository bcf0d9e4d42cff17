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
