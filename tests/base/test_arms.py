"""The further runs that an experiment asks for."""

import dataclasses

import pytest

from cxrjax.base.config import ExperimentConfig, arms, without_arms

PLAIN = ExperimentConfig("p_vs_nf", "p_vs_nf", seeds=3, external_dir="elsewhere", overwrite=True, out="there")


def test_none_unless_asked_for():
    assert arms(PLAIN) == {}
    assert without_arms(PLAIN) == PLAIN


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"split_by": "both"}, {"split_by_image": {"split_by": "image"}}),
        (
            {"floors": True},
            {"shuffled_labels": {"control": "shuffled_labels"}, "random_trunk": {"weights": "random"}},
        ),
    ],
)
def test_an_arm_differs_from_the_experiment_in_one_thing(asked, expected):
    """And it is evaluated on the internal set alone, in a folder of its own, which a resumed command keeps."""
    found = arms(dataclasses.replace(PLAIN, **asked))
    assert set(found) == set(expected)
    for name, arm in found.items():
        same = {"external_dir": None, "overwrite": False, "floors": False, "out": f"there/arms/{name}"}
        assert arm == dataclasses.replace(PLAIN, **same, **expected[name])
        assert arms(arm) == {}


def test_floors_of_both_splits_are_by_patient():
    found = arms(dataclasses.replace(PLAIN, split_by="both", floors=True))
    assert {name: arm.split_by for name, arm in found.items()} == {
        "shuffled_labels": "patient",
        "random_trunk": "patient",
        "split_by_image": "image",
    }
