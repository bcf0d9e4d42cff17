"""Results of a run with three labels that was never trained: pneumonia and infiltration of the invented tables, and
hernia, which no image of a validation side has; scores of each are made up, and analysed as a run's are."""

import dataclasses
import functools

import numpy as np
from scipy.special import expit

from cxrjax.analysis.tables import FindingsResults
from cxrjax.base import tasks
from cxrjax.base.config import questions
from cxrjax.base.tasks import PublishedAurocs
from cxrjax.runs import findings
from cxrjax.runs import results as run_results
from cxrjax.runs.results import Facts
from tests.analysis import run_tables
from tests.report import made_results

FINDINGS = ("Pneumonia", "Infiltration", "Hernia")
TASK = tasks.multilabel(
    "three", "Three findings", "Can the network recognise the 14 findings of ChestX-ray14?", FINDINGS,
    (PublishedAurocs("CheXNet", "Rajpurkar et al. 2017, arXiv:1711.05225", "random, by patient",
                     {"Pneumonia": 0.768, "Infiltration": 0.7345, "Hernia": 0.9164}),),
)  # fmt: skip


@functools.cache
def results() -> FindingsResults:
    """Three seeds; `TASK` is registered from now on."""
    tasks.register(TASK)
    case = run_tables.case(dataclasses.replace(run_tables.CONFIG, seeds=3), external=0, arms=())
    config = dataclasses.replace(case.config, task="three", name="three", data_dir="nih", seeds=3)
    like = made_results.results()
    present = {"any": 95, "none": 153, **dict.fromkeys((*FINDINGS, "rest"), 40)}
    listed = {name: number + 10 for name, number in present.items()}
    data = like.summary["data"] | {"source": "nih", "listed": listed, "present": present}
    facts = Facts(like.resolved, like.environment, data, 17.25)
    each = []
    for number, part in enumerate(questions(config)):
        tables = _of(case.tables, part.finding, number)
        each.append(run_results.assemble(part, facts, tables, {}, np.zeros((40, 40), np.uint8), None))
    return findings.assemble(config, facts, each, case.tables.flow)


def _of(tables, finding, number):
    """Labels of the finding, and scores by them."""
    labels = tables.images.set_index("image")["labels"]
    parts = {}
    for name in ("predictions", "training"):
        table = getattr(tables, name)
        label = np.array([finding in tasks.present(labels[image]) for image in table["image"]], int)
        if finding == "Hernia" and name == "training":
            label[table.groupby("seed").cumcount() < 5] = 1
        noise = np.random.default_rng([number, len(table)]).normal(size=len(table))
        parts[name] = table.assign(label=label, score=expit(1.5 * label - 1.5 + noise).astype(np.float32))
    probed = 1 - 0.7 * parts["predictions"]["score"][::-1].to_numpy()  # knows nothing
    parts["probe"] = parts["predictions"].assign(score=probed, strength=1.0)
    counted = {
        side: parts[name].groupby("seed")["label"].sum()
        for side, name in (("val", "predictions"), ("train", "training"))
    }
    seeds = tables.seeds.assign(**{f"positives_{side}": tables.seeds["seed"].map(n) for side, n in counted.items()})
    return tables._replace(seeds=seeds, **parts)
