"""A network and a task that are registered from outside, from folders of images to dreams and maps."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax import load_run
from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import LabelClass, Task
from cxrjax.data import load
from cxrjax.data.decode import Reduction
from cxrjax.data.prepare import prepare
from cxrjax.models import registry
from cxrjax.runs import experiment, predict, results, run_folder
from experiments import deep_dream, where_it_looks
from tests.models import toy

CATS_AND_DOGS = Task(
    name="cat_vs_dog",
    title="Cat vs Dog",
    question="Is a cat told from a dog?",
    positive=LabelClass("Cat", "cat", "contains", "Cat"),
    negative=LabelClass("Dog", "dog", "exactly", "Dog"),
    negatives_per_positives=(1, 1),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a finished run of three epochs on 60 images; cats are bright above, dogs below."""
    root = tmp_path_factory.mktemp("outside")
    rng = np.random.default_rng(0)
    for i in range(60):
        image = rng.integers(0, 100, (64, 64))
        image[slice(0, 32) if i % 2 else slice(32, 64)] += 100
        place = root / "pets" / ("Cat" if i % 2 else "Dog") / f"{i:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TASKS", dict(tasks.TASKS))
        patch.setattr(registry, "_MODELS", dict(registry._MODELS))
        patch.setenv("CXRJAX_CACHE", str(root / "cache"))
        tasks.register(CATS_AND_DOGS)
        registry.register(toy.MODEL)
        source = load.find(root / "pets", load.Naming({"CAT": "Cat", "DOG": "Dog"}))
        prepare(source, root / "store", Reduction(48))
        config = ExperimentConfig(
            "cat_vs_dog", "cat_vs_dog", "toy", data_dir=str(root / "store"), weights="random", retrain_from="b",
            seeds=2, epochs=3, batch_size=8, learning_rate=0.05, input="resident", out=str(root / "run"),
        )  # fmt: skip
        experiment.run(config)
        yield root / "run"


def test_the_report_speaks_of_the_task_alone(run):
    assert results.last_line(results.reopen(run).summary).startswith("Cat vs Dog: accuracy ")
    page = (run / "report.html").read_text()
    assert CATS_AND_DOGS.question in page
    for name in ("report.html", "summary.json", "flow.csv", "model_card.md", "claim_2024.md"):
        text = (run / name).read_text()
        assert "Pneumonia" not in text and "P vs N" not in text, name


def test_images_are_scored(run):
    predictions = predict.predict(load_run(run), predict.gather([run.parent / "pets"]), accept_anything=True)
    assert list(predictions["refused"].unique()) == [""]
    assert pd.Series(predictions["score"]).between(0, 1).all()


def test_it_dreams_and_explains(run, capsys):
    flags = ["--iterations=1", "--octaves=1", "--fourier_iterations=1", "--channels=2", "--layers=a,c", "--patients=1"]
    deep_dream.main([f"--run={run}", *flags])
    assert set(run_folder.read_dreams(run).transfer["aim"]) == {"Cat", "Dog"}
    where_it_looks.main([f"--run={run}", "--methods=gradient,grad_cam", "--images=2", "--nodreams"])
    assert set(run_folder.read_maps(run).focus["method"]) == {"gradient", "grad_cam"}
    assert capsys.readouterr().out.splitlines()[-1].startswith("Cat vs Dog: ")
