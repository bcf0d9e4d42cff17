"""Recipes are flags that others stand above; contradictions are refused."""

import dataclasses
import shlex

import pytest

from cxrjax.base import InputError, recipes
from cxrjax.base.config import ExperimentConfig, command_line
from cxrjax.base.recipes import RECIPES, Recipe
from experiments import _cli

CONFIG = ExperimentConfig("p_vs_nf", "p_vs_nf")


def parse(*words):
    return _cli.parse(CONFIG, "", list(words))


def test_the_poster_is_the_default():
    assert parse() == parse("--recipe=poster") == CONFIG


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_sets_its_flags_and_given_ones_stand_above(name):
    config = parse(f"--recipe={name}")
    assert {key: getattr(config, key) for key in RECIPES[name]} == RECIPES[name]
    recipes.check(config)
    changed = parse("--retrain_from=head", f"--recipe={name}", "--learning_rate=0.5")
    assert (changed.retrain_from, changed.learning_rate) == ("head", 0.5)


@pytest.mark.parametrize(
    "words", [[], ["--epochs=7"], ["--schedule=constant", "--batch_size=64", "--retrain_from=head"]]
)
@pytest.mark.parametrize("name", RECIPES)
def test_a_command_line_says_what_differs_from_the_recipe(name, words):
    config = parse(f"--recipe={name}", *words)
    line = shlex.split(command_line(config))[3:]
    assert parse(*line) == config
    assert len(line) <= 1 + len(words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamw", "momentum": 0.9}, r"--momentum=0.9 is of --optimizer=sgd, not of adamw"),
        ({"epochs": 3, "warmup_epochs": 3}, r"--warmup_epochs must be below --epochs=3, got 3"),
        ({"learning_rate": 0.0}, r"--learning_rate must be above 0, got 0"),
        ({"head": "linear", "epochs": 1, "learning_rate": 0.1}, r"--learning_rate=0.1: .* must be 0.001"),
        ({"head": "linear"}, r"--epochs=120: --head=linear is solved, not stepped: it must be 1"),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        recipes.check(dataclasses.replace(Recipe(), **changes))


def test_the_bank_may_be_left_to_the_run(capsys):
    """A word on the command line and in --help; of a library's recipe nothing is open."""
    assert (parse().augment_bank, Recipe().augment_bank) == (recipes.AUTO, 0)
    assert [parse(f"--augment_bank={word}").augment_bank for word in ("auto", "0", "8")] == [recipes.AUTO, 0, 8]
    assert command_line(parse("--augment_bank=0")).endswith("--augment_bank=0")
    assert command_line(parse("--augment_bank=auto")) == command_line(CONFIG)
    for word in ("-1", "some", "1.5", ""):
        with pytest.raises(InputError, match=f"--augment_bank={word}: must be auto or a whole number from 0 on"):
            parse(f"--augment_bank={word}")
    with pytest.raises(SystemExit):
        parse("--help")
    assert "docs/results/bank.md) (default: auto)" in " ".join(capsys.readouterr().out.split())


def test_a_solved_head_takes_no_bank():
    recipes.check(parse("--recipe=probe", "--augment_bank=0"))
    with pytest.raises(InputError, match="--augment_bank=4: --head=linear is solved, not stepped: it must be 0"):
        recipes.check(parse("--recipe=probe", "--augment_bank=4"))
