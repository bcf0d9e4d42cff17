"""The cards say what the run did, no more; and nothing that a run is named breaks them."""

import ast
import doctest
import functools
import html
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from sklearn.metrics import accuracy_score, roc_auc_score

from cxrjax.base.config import ExperimentConfig
from cxrjax.metrics.registry import METRICS
from cxrjax.report import cards, rows
from cxrjax.report.language import ENGLISH
from tests.report.made_results import SHA, results

READER = MarkdownIt("commonmark").enable("table")
STATUSES = {"reported", "partly", "a person must fill in", "not applicable"}
MARK = "A person must fill in"
RUNS = {
    "all": {},
    "alone": {"alone": True},
    "one seed": {"alone": True, "seeds": 1},
    "phantom": {"alone": True, "data_dir": None},
    "held out": {"test": "official", "match": "view,sex"},
    "image": {"split_by": "image"},
    "control": {"control": "shuffled_labels"},
    "random": {"weights": "random"},
    "all layers": {"weights": "random", "retrain_from": "conv1"},
    "last layer": {"retrain_from": "fc8", "augment_bank": 4, "flip": False, "clahe": True, "rotation": 5.0},
    "some": {"train_patients": 30, "negatives": "50", "view": "PA", "task": "p_vs_np", "name": "p_vs_np"},
}


def items(text: str) -> dict[int, tuple[str, str, str, str]]:
    """Number -> what is asked, status, answer, where; of an item that is there twice the test fails."""
    found = {}
    for line in text.splitlines():
        if re.match(r"\| \d+ \|", line):
            number, *cells = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            assert int(number) not in found
            found[int(number)] = (cells[0], cells[1].strip("*"), cells[2], cells[3])
    return found


@functools.cache
def rendered(run: str) -> tuple[str, str]:
    """Model card and checklist of one of `RUNS`."""
    made = results(**RUNS[run])
    return cards.model_card(made), cards.claim(made)


def table_shapes(text: str) -> set[int]:
    """By how many cells the rows of a table differ from its head; {0} if all is well."""
    widths = [len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in text.splitlines()]
    return {b - a for a, b in itertools.pairwise(widths) if a and b}


def cell(text: str, row: str, column: int) -> str:
    line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
    return re.split(r"(?<!\\)\|", line)[column + 1].strip()


@pytest.mark.parametrize("run", RUNS)
def test_whatever_the_run_both_are_whole(run):
    card, claim = rendered(run)
    found = items(claim)
    assert list(found) == list(range(1, 45))
    assert all(asked and status in STATUSES and answer for asked, status, answer, _ in found.values())
    told = re.search(r"\*\*(\d+)\*\* items are reported, \*\*(\d+)\*\* partly,\s+\*\*(\d+)\*\* .*?\*\*(\d+)\*\*", claim)
    counted = [sum(own[1] == status for own in found.values()) for status in ("reported", "partly")]
    assert told is not None and [int(told[1]), int(told[2])] == counted and sum(map(int, told.groups())) == 44
    # A part that is missing is named, and where all is reported none is.
    assert {number for number, own in found.items() if own[1] == "partly"} == {
        number for number, own in found.items() if "**Missing:**" in own[2]
    }
    for text in (card, claim):
        assert table_shapes(text) == {0}
        assert not re.search(r"\b(nan|NaT|None(?! was)|True|False(?! (positive|negative)))\b", text)
        assert "not a medical device" in text and "\n\n\n" not in text
    assert MARK in card


def test_sections_are_those_of_mitchell_et_al():
    headings = re.findall(r"^## (.*)", rendered("all")[0], re.MULTILINE)
    assert headings == [
        "Model details", "Intended use", "Factors", "Metrics", "Training data", "Evaluation data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations", "Provenance",
    ]  # fmt: skip


def status(number: int, run: str = "all") -> str:
    return items(rendered(run)[1])[number][1]


def test_external_testing_is_reported_only_where_there_was_some():
    assert status(33) == "partly" and status(33, "alone") == "a person must fill in"
    card, claim = rendered("alone")
    assert "external set" not in claim and "External test, score" not in card
    assert "limitation" in items(claim)[33][2] and "Not tested on another hospital's images" in card


def test_what_no_run_knows_is_never_reported():
    for run in RUNS:
        found = items(rendered(run)[1])
        persons = [1, 2, 3, 41, 44] + ([] if run == "phantom" else [11, 15, 16, 18])
        assert {found[number][1] for number in persons} == {"a person must fill in"}
        assert found[34][1] == "not applicable"
        assert {found[number][1] for number in (21, 26, 30, 42, 43)} == {"partly"}


def test_tuning_and_internal_testing_are_called_what_they_are():
    found = items(rendered("all")[1])
    assert "No tuning set" in found[19][2] and "internal test set" in found[32][2]
    assert "last epoch" in found[26][2] and "None was selected" in found[26][2]


def test_a_split_by_image_is_no_split_by_patient():
    made = results(split_by="image")
    shared = made.tables._replace(seeds=made.tables.seeds.assign(contaminated_share=0.325))
    claim, card = cards.claim(made._replace(tables=shared)), cards.model_card(made._replace(tables=shared))
    assert "**Image only:** 32.5 %" in items(claim)[20][2] and "none is on both sides" not in claim
    assert "**Split by image:** 32.5 %" in card and "No patient is on both sides" not in card
    assert "Patient: none is on both sides" in items(rendered("all")[1])[20][2]


def test_patients_that_are_unknown_are_no_split_by_patient():
    unknown = results()
    unknown.summary["data"]["patients_unknown"], unknown.summary["split_by"] = 3, "image (patients unknown)"
    claim = items(cards.claim(unknown))[20]
    assert status(20) == "reported" and claim[1] == "partly" and "may be on both sides" in claim[2]
    card = cards.model_card(unknown)
    assert "No patient is on both sides" not in card
    assert len(re.findall(r"^\| (?:training|internal test) \| [\d,]+ \| unknown \|", card, re.MULTILINE)) == 2


def test_preprocessing_is_reported_where_the_reduction_is_known():
    made = results()
    made.summary["data"]["made"] = {"size": 256, "fit": "stretch"}
    assert status(9) == "partly" and items(cards.claim(made))[9][1] == "reported"
    assert "size 256, fit stretch" in cards.model_card(made)


def test_images_that_were_enlarged_are_told():
    with_counts, before = results(), " ".join(rendered("all"))
    counts = {"size": 512, "images": 40, "of": 248, "median": 256, "smallest": 224}
    with_counts.summary["data"] |= {"enlarged": counts, "external_enlarged": counts | {"of": 60}}
    claim, card = items(cards.claim(with_counts)), cards.model_card(with_counts)
    inside, outside = (f"Enlarged to 512 pixels a side: 40 of {of} images, from 256 (median; " for of in (248, 60))
    assert inside in claim[9][2] and outside in claim[33][2]
    assert inside in card.split("**Preparation:**")[1] and outside in card.split("**External test:**")[1]
    assert "nlarged" not in before


def test_phantom_control_and_random_layers_are_told_at_the_top():
    def top(run):
        return " ".join(rendered(run)[0].split("## Model details")[0].split())

    assert "drawn by software and show no patient" in top("phantom")
    assert "**This is a control:**" in top("control")
    assert "**The frozen layers are at random:**" in top("random")
    assert "**All layers began at random:**" in top("all layers")
    assert "**" not in top("all").replace("**Research software, not a medical device.**", "").replace(
        f"**[{MARK}: so]**", ""
    )


def test_the_images_kind_is_said_with_care():
    """NIH's names say NIH only in the subjunctive; other names and the phantom say nothing of it."""
    for text in rendered("all"):
        assert "file names are those of NIH ChestX-ray14" in text
    made = results()
    other = made.tables.images.assign(image="x" + made.tables.images["image"])
    parts = {
        name: getattr(made.tables, name).assign(image=lambda t: "x" + t["image"])
        for name in ("predictions", "training")
    }
    other = made._replace(tables=made.tables._replace(images=other, **parts))
    for text in (cards.model_card(other), cards.claim(other), *rendered("phantom")):
        assert "ChestX-ray14" not in text


def test_figures_are_those_of_the_analysis():
    made = results()
    card = cards.model_card(made)
    table = made.analysis.metrics
    table = table[(table["data"] == "internal") & (table["rule"] == "fixed")].set_index("metric")
    auroc, accuracy = table.loc["auroc"], table.loc["accuracy"]
    assert cell(card, "AUROC", 1) == f"{auroc['mean']:.3f} ± {auroc['sd']:.3f}"
    assert cell(card, "AUROC", 2) == f"{auroc['low']:.3f} to {auroc['high']:.3f}"
    assert cell(card, "AUROC", 3) == f"{auroc['pooled']:.3f}" != f"{auroc['mean']:.3f}"
    assert cell(card, "Accuracy", 3) == f"{100 * accuracy['pooled']:.1f} %"
    assert cell(card, "Accuracy", 4) == f"{100 * accuracy['pooled_low']:.1f} to {100 * accuracy['pooled_high']:.1f} %"
    assert cell(card, "Expected calibration error", 4) == "–"
    assert all(
        f"| {name[:1].upper()}{name[1:]} |" in card for name in ("FP, share of all images", "PPV in these images")
    )
    assert len(rows.metrics(made, "internal", "fixed", rows.CARD)) == len(METRICS)


def test_an_undefined_figure_is_a_dash_with_its_reason():
    made = results()
    auroc = made.analysis.metrics["metric"] == "auroc"
    names = ["mean", "sd", "low", "high", "pooled", "pooled_low", "pooled_high"]
    figures = made.analysis.metrics.copy()
    figures.loc[auroc, names] = np.nan
    figures.loc[auroc, "undefined"] = "no_positive_image"
    card = cards.model_card(made._replace(analysis=made.analysis._replace(metrics=figures)))
    assert [cell(card, "AUROC", column) for column in range(1, 5)] == ["–"] * 4
    assert "- AUROC: no positive image" in card


def test_training_figures_agree_with_scikit_learn():
    made = results()
    runs = [own for _, own in made.tables.training.groupby("seed")]
    accuracy = np.array([accuracy_score(own["label"], own["score"] > 0.5) for own in runs])
    auroc = np.array([roc_auc_score(own["label"], own["score"]) for own in runs])
    assert cards.on_training_images(made.tables.training) == {
        "accuracy": f"{100 * accuracy.mean():.1f} ± {100 * accuracy.std(ddof=1):.1f} %",
        "auroc": f"{auroc.mean():.3f} ± {auroc.std(ddof=1):.3f}",
    }


def test_partitions_by_hand():
    """Two seeds: one with image a in training, the other with b, c and d; patients 1, 2 and 2."""
    images = pd.DataFrame(
        {
            "image": list("abcd"), "patient": ["1", "2", "2", "3"], "view": ["AP", "PA", "PA", ""],
            "age": [30.0, 50.0, 412.0, np.nan], "sex": ["F", "M", "M", "F"],
        }
    )  # fmt: skip
    part = pd.DataFrame(
        {"seed": [0, 1, 1, 1], "image": list("abcd"), "patient": ["1", "2", "2", "3"], "label": [1, 0, 1, 1]}
    )
    made = results().tables._replace(images=images, training=part, predictions=part)
    training, tested = cards.partitions(made, True)
    assert training == tested | {"name": "training"}
    assert training == {
        "name": "training", "images": "2", "patients": "1.5", "positives": "1.5 (75.0 %)", "age": "40 (35 to 45)",
        "age_unknown": "50.0 %", "sex": "F 50.0 %, M 50.0 %", "view": "PA 50.0 %, AP 25.0 %, unknown 25.0 %",
    }  # fmt: skip


def test_floors_that_are_not_beaten_are_told():
    made = results()
    beaten = made.analysis.floors.assign(beaten=[None, True, True, False, True, None, True])
    beaten.loc[6, "available"] = False
    changed = made._replace(analysis=made.analysis._replace(floors=beaten))
    card, found = cards.model_card(changed), items(cards.claim(changed))
    outcomes = [cell(card, ENGLISH.word("floor", name), 5) for name in beaten["floor"]]
    assert outcomes == ["", "yes", "yes", "**no**", "yes", "not known", "not run"]
    names = [ENGLISH.word("verdict_floor", name) for name in ("metadata", "shuffled_labels")]
    assert f"Not shown to be better than: {', '.join(names)}" in found[37][2]
    assert "as floors a network on a trunk of random weights" in found[30][2]


def test_the_best_and_the_worst_group_are_no_small_ones():
    table = pd.DataFrame(
        {
            "variable": ["view", "view", "sex", "images"], "group": ["AP", "PA", "unknown", "1"],
            "small": [False, False, False, True], "auroc": [0.7, 0.8, 0.9, 0.1],
        }
    )  # fmt: skip
    assert cards.extremes(table) == ["view PA (0.800)", "view AP (0.700)"]
    assert cards.extremes(table[:1]) == []


def test_loading_is_python_that_names_the_folder():
    folder = 'runs/it\'s "odd"\n'
    tree = ast.parse(cards.loading(ExperimentConfig("p_vs_nf", "p_vs_nf", out=folder), 256))
    assert [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)] == [folder.rstrip("/")]


def test_hashes_licences_and_how_to_load():
    card = rendered("all")[0]
    assert card.count(SHA) == 2 and SHA[::-1] in card and f"{6:064x}" in card
    assert "    run = load_run('runs/p_vs_nf')" in card
    assert "Apache-2.0" in card and "BSD-3-Clause" in card
    assert "none are used" in rendered("random")[0]


HOSTILE = "a|b `c` <script>alert(1)</script>\n| x | *y* [z](javascript:1) &lt;"


def test_no_name_breaks_a_table_or_becomes_html():
    """Folders, labels, groups, stages, notes, packages: everything that is not ours, and worst."""
    made = results(data_dir=HOSTILE, external_dir=HOSTILE, out=HOSTILE, negatives="9")
    found, tables = made.analysis, made.tables
    worst = made._replace(
        environment=made.environment | {"system": HOSTILE, "packages": {"cxrjax": "0.1.0", HOSTILE: HOSTILE}},
        resolved=made.resolved | {"device": HOSTILE},
        summary=made.summary
        | {"notes": [HOSTILE], "data": made.summary["data"] | {"source": HOSTILE, "made": {HOSTILE: HOSTILE}}},
        tables=tables._replace(
            flow=tables.flow.assign(stage=HOSTILE), images=tables.images.assign(view=HOSTILE, sex=HOSTILE)
        ),
        analysis=found._replace(
            subgroups=found.subgroups.assign(variable=HOSTILE, group=HOSTILE, undefined=HOSTILE),
            floors=found.floors.assign(note=HOSTILE),
            metrics=found.metrics.assign(undefined=HOSTILE),
        ),
    )
    worst.environment["weights"] = worst.environment["weights"] | {"source": HOSTILE, "file": HOSTILE}
    plain = made._replace(tables=tables, analysis=found)
    for render in (cards.model_card, cards.claim):
        text = render(worst)
        assert table_shapes(text) == {0}
        page = READER.render(text)
        assert {tag.lower() for tag in re.findall(r"</?([a-zA-Z]\w*)", page)} <= {
            "h1", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "strong", "em", "code",
            "pre",
        }  # fmt: skip
        assert "href" not in page
        assert page.count("<table>") == READER.render(render(plain)).count("<table>")
        assert " ".join(HOSTILE.split()) in " ".join(html.unescape(re.sub("<[^>]*>", "", page)).split())
        text.encode()


def test_doctests():
    for module in (cards, rows):
        assert doctest.testmod(module).failed == 0
