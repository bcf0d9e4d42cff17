"""A network, a task, a metric and a report section from outside, from folders of images to report, dreams and maps."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.base.tasks import LabelClass, Task
from cxrjax.metrics import registry as metrics
from cxrjax.models import registry
from cxrjax.report import sections, terminal
from cxrjax.report.pages import Section
from cxrjax.runs import experiment, results, run_folder
from experiments import deep_dream, predict, prepare, where_it_looks
from tests.models import toy

CATS_AND_DOGS = Task(
    name="cat_vs_dog",
    title="Cat vs Dog",
    question="Is a cat told from a dog?",
    positive=LabelClass("Cat", "cat", "contains", "Cat"),
    negative=LabelClass("Dog", "dog", "exactly", "Dog"),
    negatives_per_positives=(1, 1),
)
CALLED = metrics.Metric(
    "called_share",
    lambda label, score, weight, threshold: jnp.sum(weight * (score > threshold)) / jnp.sum(weight),
    "share called a cat",
    "%",
    tables=frozenset({metrics.MAIN, metrics.SUBGROUPS}),
)
WHISKERS = Section(
    key="whiskers",
    title="Whiskers",
    context=lambda results, t: {"animals": len(results.tables.images)},
    template="<p>{{ animals }} animals were looked at.</p>",
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
        patch.setattr(metrics, "METRICS", dict(metrics.METRICS))
        patch.setattr(sections, "SECTIONS", list(sections.SECTIONS))
        tasks.register(CATS_AND_DOGS)
        registry.register(toy.MODEL)
        metrics.register(CALLED)
        sections.register(WHISKERS, after="floors")
        store = root / "store"
        prepare.main([f"--source={root / 'pets'}", f"--out={store}", "--size=48", "--classes=Cat=Cat,Dog=Dog"])
        config = ExperimentConfig(
            "cat_vs_dog", "cat_vs_dog", model="toy", data_dir=str(root / "store"), weights="random", retrain_from="b",
            seeds=2, epochs=3, batch_size=8, learning_rate=0.05, input="resident", small_ok=True,
            out=str(root / "run"),
        )  # fmt: skip
        experiment.run(config)
        yield root / "run"


def test_the_report_speaks_of_the_task_alone(run):
    shown = terminal.result(results.reopen(run).summary)
    assert shown.title.startswith("Cat vs Dog, 2 seeds") and not any("poster" in row[0] for row in shown.rows)
    page = (run / "report.html").read_text()
    assert CATS_AND_DOGS.question in page
    for name in ("report.html", "summary.json", "flow.csv", "model_card.md", "claim_2024.md"):
        text = (run / name).read_text()
        assert "Pneumonia" not in text and "P vs N" not in text, name


def test_a_metric_is_in_tables_summary_report_and_card(run):
    assert pd.read_csv(run / "results.csv")["called_share"].between(0, 1).all()
    assert CALLED.name in set(pd.read_csv(run / "metrics.csv")["metric"])
    assert {CALLED.name, f"{CALLED.name}_low"} <= set(pd.read_csv(run / "subgroups.csv").columns)
    assert CALLED.name in results.reopen(run).summary["internal"]
    assert all("share called a cat" in (run / name).read_text().lower() for name in ("report.html", "model_card.md"))


def test_a_section_stands_where_it_was_put(run):
    page = (run / "report.html").read_text()
    assert "60 animals were looked at." in page
    assert page.index('id="floors"') < page.index('id="whiskers"') < page.index('id="runs"')


def test_images_are_scored(run, capsys):
    out = run.parent / "scores.csv"
    predict.main([f"--run={run}", f"--out={out}", "--accept_anything", str(run.parent / "pets")])
    assert pd.read_csv(out)["score"].between(0, 1).all()


@pytest.mark.slow
def test_it_dreams_and_explains(run, capsys):
    flags = ["--iterations=1", "--octaves=1", "--fourier_iterations=1", "--channels=2", "--layers=a,c", "--patients=1"]
    deep_dream.main([f"--run={run}", *flags])
    assert set(run_folder.read_dreams(run).transfer["aim"]) == {"Cat", "Dog"}
    where_it_looks.main([f"--run={run}", "--methods=gradient,grad_cam", "--images=2", "--nodreams"])
    assert set(run_folder.read_maps(run).focus["method"]) == {"gradient", "grad_cam"}
    assert capsys.readouterr().out.splitlines()[-1].startswith("Cat vs Dog: ")
