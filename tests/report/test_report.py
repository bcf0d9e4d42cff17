"""The page as text: every part there, well formed, escaped, in both languages; and the files beside it."""

import dataclasses
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.base import tasks
from cxrjax.base.config import ExperimentConfig
from cxrjax.report import cards, report, rows, sections
from cxrjax.report.figures import Drawn
from cxrjax.report.language import ENGLISH, language
from cxrjax.report.pages import Section
from cxrjax.report.rows import Numbers
from cxrjax.report.sections import run, scores
from tests.report import report_case
from tests.report.report_case import ATTACK, NOTE

VOID = {"meta", "img", "br", "input", "use", "path", "rect"}


class Page(HTMLParser):
    """Elements of a page in order, as (name, attributes); refuses what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data

    def all(self, *names):
        return [attributes for name, attributes in self.elements if name in names]


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text())


def test_files(folder, pictures):
    names = set(pictures)
    assert {path.name for path in (folder / "figures").iterdir()} == {f"{n}.{e}" for n in names for e in ("png", "svg")}
    assert (folder / "learning_curve.png").read_bytes() == (folder / "figures" / "learning_curve.png").read_bytes()
    with Image.open(folder / "dream.png") as dream:
        assert np.array_equal(np.asarray(dream), report_case.results().dream)
    assert len(pd.read_csv(folder / "results.csv")) == 4
    assert json.loads((folder / "summary.json").read_text()) == report_case.results().summary
    assert (folder / "report.html").stat().st_size < 2e6


def test_summary_comes_last(tmp_path, monkeypatch):
    def failing(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "html", failing)
    monkeypatch.setattr(sections, "draw_all", lambda results, t: {"learning_curve": None})
    monkeypatch.setattr(report.figures, "save", lambda name, picture: Drawn(b"", "", "", ""))
    with pytest.raises(KeyboardInterrupt):
        report.write(tmp_path, report_case.bare())
    assert (tmp_path / "results.csv").is_file() and not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize("code", ["en", "es"])
def test_headings_names_and_alternative_texts(code):
    found = report_case.in_language(report_case.results(), code)
    page = Page(report.html(found, {}, language(code)))
    assert page.all("html") == [{"lang": code}]
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    links = [a["href"] for a in page.all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert len([link for link in links if link.startswith("#")]) == 19
    assert all(a.get("alt") for a in page.all("img"))
    assert all(a.get("scope") in ("row", "col", "rowgroup") for a in page.all("th"))
    assert all(a.get("aria-label") for _, a in page.elements if a.get("role") in ("img", "region"))
    assert {a.get("type") for a in page.all("input")} == {"range", "number"}
    assert {a["for"] for a in page.all("label")} == {"threshold", "prevalence"}


def test_nothing_is_fetched(page):
    for _, attributes in page.elements:
        for name in ("src", "data", "poster", "srcset", "xlink:href"):
            assert attributes.get(name, "data:").startswith("data:")
    assert not page.all("link", "iframe", "object", "embed")
    assert "default-src 'none'" in page.all("meta")[1]["content"]


def test_what_users_wrote_is_text(page):
    assert page.text.count(ATTACK) > 12  # names, labels, views, the source, a bad image
    assert not [a for a in page.all("img") if a.get("src") == "x"]
    assert all(set(a) <= {"src", "alt", "width", "height"} for a in page.all("img"))


def test_the_contents_come_in_order(page):
    wanted = [
        "poster", "flow", "learning", "discrimination", "calibration", "decisions", "explore", "metrics", "floors",
        "leakage", "subgroups", "external", "errors", "dream", "runs", "reproduce", "sources", "limits",
    ]  # fmt: skip
    assert [a["id"] for a in page.all("h2")][1:] == wanted
    drawn = [a["id"].removeprefix("figure-") for a in page.all("figure") if "id" in a]
    assert drawn == [
        "learning_curve", "roc", "precision_recall", "calibration", "scores", "confusion", "floors", "leakage",
        "subgroups", "subgroups_decisions", "scores_external", "confusion_external", "per_seed",
    ]  # fmt: skip


def test_what_is_missing_names_its_flag(folder):
    def missing(text):
        return [" ".join(told.split()) for told in re.findall('<p class="missing">(.*?)</p>', text, re.DOTALL)]

    told = missing(report.html(report_case.bare(), {}, ENGLISH))
    named = [re.findall("<code>(.*?)</code>", one) for one in told]
    assert named == [[], ["--floors"], ["--split_by=both"], [], ["--external_dir=FOLDER"]]
    assert "needs JavaScript" in told[0] and "no patient is known to have several images" in told[3]
    assert len(missing((folder / "report.html").read_text())) == 1


def test_poster_and_figures_are_those_of_the_analysis(page):
    figures = report_case.results().analysis.metrics
    table = {(r["data"], r["rule"], r["metric"]): r for r in figures.to_dict("records")}
    mean, sd, low, high = (100 * table["internal", "fixed", "accuracy"][name] for name in ("mean", "sd", "low", "high"))
    assert f"accuracy(%)83±7{mean:.1f}±{sd:.1f}{low:.1f}to{high:.1f}" in "".join(page.text.split())
    found, chosen = (
        rows.metrics(report_case.results(), "external", rule, Numbers(ENGLISH)) for rule in ("fixed", "chosen")
    )
    auroc = table["external", "fixed", "auroc"]
    assert found["auroc"].pooled_interval == f"{auroc['pooled_low']:.3f} to {auroc['pooled_high']:.3f}"
    assert "auroc" not in chosen and "–" not in chosen["accuracy"].mean


def test_notes_and_reasons_are_in_the_language_of_the_page():
    found = report_case.in_language(report_case.results(), "es")
    text = Page(report.html(found, {}, language("es"))).text
    assert NOTE not in text and "phantom drawn by software" not in text
    assert "Las imágenes son un fantoma dibujado por un programa" in text
    assert "error de calibración esperado: el propio remuestreo aumenta esta cifra" in text
    assert "0,5" in text and not re.search(r"\b0\.\d{3}\b", text.split("Cómo repetir")[1].split("results.csv")[0])


@pytest.mark.parametrize(("code", "words"), [("en", "has 16 augmentations"), ("es", "tiene 16 aumentos")])
def test_it_is_said_what_was_augmented_where_that_was_left_open(code, words):
    results = report_case.bare()
    assert words not in str(run.learning(results, language(code)))  # a run of an earlier version
    results = results._replace(resolved=results.resolved | {"augmentation": "bank slots=16"})
    assert words in run.learning(results, language(code))["augmentation"]
    assert "bank" not in str(run.facts(results, language(code)))


@pytest.mark.parametrize(
    ("code", "some", "none"),
    [
        (
            "en",
            "Enlarged to 512 pixels a side: 1,823 of 1,900 images, from 256 (median; smallest 224). That adds no ",
            "No image was enlarged to reach 512 pixels a side.",
        ),
        (
            "es",
            "Ampliadas a 512 píxeles por lado: 1.823 de 1.900 imágenes, desde 256 (mediana; la menor, 224). Eso no ",
            "Ninguna imagen se amplió para llegar a 512 píxeles por lado.",
        ),
    ],
)
def test_it_is_said_how_many_images_were_enlarged(code, some, none):
    """In the sections of the run's images and of the external set; of stores of before nothing is."""
    untold = report_case.in_language(report_case.results(), code)
    counts = {"size": 512, "images": 1823, "of": 1900, "median": 256, "smallest": 224}
    data = untold.summary["data"] | {"enlarged": counts, "external_enlarged": counts | {"images": 0}}
    page = report.html(untold._replace(summary=untold.summary | {"data": data}), {}, language(code))
    sections = {part.partition('"')[0]: part for part in page.split('<h2 id="')}
    assert some in sections["flow"] and none in sections["external"]
    page = report.html(untold, {}, language(code))
    assert some[:9] not in page and none[:19] not in page


def test_undefined_figures_have_a_reason():
    found = report_case.results()
    figures = found.analysis.metrics.assign(undefined="")
    row = (figures["metric"] == "auroc") & (figures["data"] == "internal")
    figures.loc[row, ["mean", "sd", "low", "high", "pooled", "pooled_low", "pooled_high"]] = np.nan
    figures.loc[row, "undefined"] = "no_negative_image"
    found = found._replace(analysis=found.analysis._replace(metrics=figures))
    assert rows.undefined(found, "internal", Numbers(ENGLISH)) == ["AUROC: no negative image."]
    assert rows.metrics(found, "internal", "fixed", Numbers(ENGLISH))["auroc"].mean == "–"
    assert "AUROC: no negative image." in Page(report.html(found, {}, ENGLISH)).text


def test_counts_at_thresholds_reach_the_script_whole():
    found = report_case.results()
    given = scores.operating(found, ENGLISH)
    assert given["steps"] == 200 and set(given["sets"]) == {"internal", "external"}
    table = found.tables.predictions
    for i, (_, own) in enumerate(table.groupby("seed")):
        one = given["sets"]["internal"]
        assert (one["positives"][i], one["negatives"][i]) == (own["label"].sum(), (1 - own["label"]).sum())
        called = own[own["score"] > np.float32(0.3)]
        assert (one["true_pos"][i][60], one["false_pos"][i][60]) == (called["label"].sum(), (1 - called["label"]).sum())


def test_flags_tell_which_are_usual():
    config = ExperimentConfig(
        "p_vs_nf", "p_vs_nf", data_dir="my data", seeds=3, flip=False, floors=True, out="runs/x", overwrite=True
    )
    usual = {name: is_default for name, _, is_default in run.flags(config)}
    assert not usual["seeds"] and usual["epochs"] and "task" not in usual


def test_an_error_without_a_picture_is_still_told():
    page = Page(report.html(report_case.results()._replace(pictures={}), {}, ENGLISH))
    assert len(page.all("img")) == 1
    assert "labelled pneumonia, but not called so" in page.text


def test_small_numbers_of_p():
    assert [Numbers(ENGLISH).p(p) for p in (0.0004, 0.04, np.nan)] == ["< 0.001", "0.040", "–"]


def test_the_chosen_threshold_is_a_step():
    found = report_case.results()
    mean = found.analysis.seeds["threshold"].mean()
    assert abs(scores.chosen(found) - mean) <= 1 / 400
    assert (scores.chosen(found) * 200) == pytest.approx(round(mean * 200))
    unknown = found.analysis.seeds.assign(threshold=np.nan)
    assert np.isnan(scores.chosen(found._replace(analysis=found.analysis._replace(seeds=unknown))))


def test_a_page_of_another_prevalence():
    found = report_case.results()
    page = Page(report.html(found._replace(config=dataclasses.replace(found.config, prevalence=0.2)), {}, ENGLISH))
    assert next(a for a in page.all("input") if a["id"] == "prevalence")["value"] == "20.0"
    assert "PPV at a prevalence of 20.0 %" in page.text


@pytest.fixture
def registered():
    """Gives `sections.register`; the sections are those of before in the end."""
    before = list(sections.SECTIONS)
    yield sections.register
    sections.SECTIONS[:] = before


def test_a_section_from_outside_has_its_place_and_its_figure(registered, pictures):
    template = (
        '{% import "macros.html.jinja" as m with context %}<p>{{ title }} of {{ positive }}: {{ names|join(", ") }}</p>'
        '{{ m.plot("toy", "caption") }}'
    )
    oldest = Section(
        key="oldest", title="The oldest <two>", template=template, context=lambda results, t: {"names": ["a", ATTACK]},
        figures={"toy": lambda results, t: pictures["roc"], "absent": lambda results, t: None},
    )  # fmt: skip
    registered(oldest, after="floors")
    assert sections.draw("toy", report_case.results(), ENGLISH) is pictures["roc"]
    assert sections.draw("absent", report_case.results(), ENGLISH) is None
    text = report.html(report_case.results(), {"toy": Drawn(b"", "", "<svg></svg>", "a toy")}, ENGLISH)
    page = Page(text)
    keys = [a["id"] for a in page.all("h2")]
    assert keys[keys.index("floors") + 1] == "oldest" == keys[keys.index("leakage") - 1]
    assert [a["href"] for a in page.all("a")].count("#oldest") == 1
    assert f"The oldest <two> of pneumonia: a, {ATTACK}" in page.text
    assert "figure-toy" in [a.get("id") for a in page.all("figure")]


def test_a_section_with_nothing_to_say_is_absent(registered):
    registered(Section("silent", "Silence", lambda results, t: None, template="<p>never</p>"))
    text = report.html(report_case.bare(), {}, ENGLISH)
    assert 'id="silent"' not in text and "#silent" not in text and "<p>never</p>" not in text


def test_a_section_needs_a_new_key_and_a_known_place(registered):
    with pytest.raises(ValueError, match="key must be new, got 'floors'"):
        registered(Section("floors", "again"))
    with pytest.raises(ValueError, match=r"after must be one of .*, got 'nowhere'"):
        registered(Section("new", "new"), after="nowhere")


def test_a_task_without_published_numbers_has_a_result_without_them(monkeypatch):
    found = report_case.bare()
    unpublished = dataclasses.replace(tasks.get(found.config.task), published=None)
    monkeypatch.setitem(tasks.TASKS, found.config.task, unpublished)
    page = Page(report.html(found, {}, ENGLISH))
    keys = [a["id"] for a in page.all("h2")]
    assert keys[1] == "result" and "poster" not in keys
    assert "83 ± 7" not in page.text and "accuracy (%)" in page.text


def test_a_task_of_other_classes_and_another_network_are_called_by_their_names(monkeypatch):
    """Nothing of the page or the cards but the list of sources speaks of pneumonia or of AlexNet."""
    found = report_case.bare()
    cat, dog = (tasks.LabelClass(name, name.lower(), "contains", name) for name in ("Cat", "Dog"))
    toy = tasks.Task("toy", "Cat against Dog", "Is a cat told from a dog?", cat, dog, (1, 1))
    monkeypatch.setitem(tasks.TASKS, "toy", toy)
    network = found.environment["network"] | {
        "label": "Toy", "description": "three stages", "crop": 40, "source": 48, "logits": "c", "dropped": ["b"],
        "frozen": ["a"], "retrained": ["b", "c"], "fresh": ["c"],
    }  # fmt: skip
    data = found.summary["data"] | {"listed": {"Cat": 9, "Dog": 8}, "present": {"Cat": 9, "Dog": 8}}
    found = found._replace(
        config=dataclasses.replace(
            found.config, task="toy", name="toy", data_dir="cats", model="toy", weights="random", retrain_from="b"
        ),
        environment=found.environment | {"network": network, "weights": None},
        summary=found.summary | {"data": data},
    )
    page = Page(report.html(found, {}, ENGLISH))
    for text in (page.text, cards.model_card(found), cards.claim(found)):
        assert not re.findall("pneumonia|alexnet|fc[678]|227|256 ?×|poster of 2018", text.split("NIH ChestX")[0], re.I)
    assert "9 Cat present of 9 listed" in cards.model_card(found) and "the central 40×40" in cards.model_card(found)
    assert "Prevalence p of cat (%)" in page.text and "Network, Toy: three stages." in page.text
