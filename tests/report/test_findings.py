"""The page of a run with many labels: what it says of each finding, its figures, and the way to each finding's page."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxrjax.base import tasks
from cxrjax.report import cards, report, sections
from cxrjax.report.figures import Drawn
from cxrjax.report.language import ENGLISH, language
from cxrjax.report.sections import findings
from tests.report import findings_case
from tests.report.test_cards import items, table_shapes
from tests.report.test_figures import check_texts
from tests.report.test_report import Page


@pytest.fixture(scope="module")
def results():
    return findings_case.results()


@pytest.fixture(scope="module", params=["en", "es"])
def page(request, results):
    """Language and page without figures."""
    t = language(request.param)
    return t, Page(report.html(results._replace(config=dataclasses.replace(results.config, lang=t.code)), {}, t))


def test_the_page_has_its_sections_and_links(page):
    t, text = page
    assert [a["id"] for a in text.all("h2")][1:] == [
        "findings", "thresholds", "small", "together", "flow", "learning", "reproduce", "sources", "limits",
    ]  # fmt: skip
    links = {a["href"] for a in text.all("a") if a["href"].startswith("findings/")}
    assert links == {f"findings/{name}/report.html" for name in findings_case.FINDINGS}
    assert text.all("html") == [{"lang": t.code}] and not text.all("script", "link", "iframe")
    assert "script-src 'none'" in text.all("meta")[1]["content"]
    assert all(a.get("scope") in ("row", "col") for a in text.all("th"))


def test_figures_are_in_the_page_and_no_word_of_them_is_cut_or_lies_on_another(results, monkeypatch):
    """In Spanish, whose words are longer."""
    t = language("es")
    pictures = sections.draw_all(results, t)
    page = Page(report.html(results, {name: Drawn(b"", "", "<svg></svg>", x.alt) for name, x in pictures.items()}, t))
    shown = [a["id"].removeprefix("figure-") for a in page.all("figure")]
    assert shown == ["aurocs", "roc", "calibration", "together", "learning_curve"] and {*shown, "flow"} == set(pictures)
    for name, picture in pictures.items():
        check_texts(name, picture, monkeypatch)


def test_the_answer_has_the_mean_of_what_is_defined(results):
    """Averages by scikit-learn; published ones of the same findings."""
    tables = [of_finding.tables.predictions.groupby("seed") for of_finding in results.findings[:2]]
    aurocs = [roc_auc_score(rows["label"], rows["score"]) for table in tables for _, rows in table]
    assert findings.answer(results, ENGLISH) == (
        "Partly: better than chance for 1 of 3 findings, but not shown to be better than view, sex and age alone for "
        "any."
    )
    one = results._replace(findings=results.findings[:1])  # as of the task pneumonia
    assert findings.answer(one, ENGLISH).startswith("Partly: better than chance, but ")
    sentence = findings.verdict(results, ENGLISH)
    assert sentence.startswith(f"AUROC {np.mean(aurocs):.2f}, mean of 2 findings and 3 runs (95 % interval ")
    assert f"CheXNet {(0.768 + 0.7345) / 2:.2f} (split: random, by patient)" in sentence
    assert "all metadata" in sentence and sentence.endswith("so left out of the means: hernia.")


def test_an_undefined_finding_has_a_reason_and_no_number(page):
    t, text = page[0], " ".join(page[1].text.split())
    reason = {"en": "Hernia: no positive image", "es": "Hernia: ninguna imagen positiva"}[t.code]
    assert reason in text and "no_positive_image" not in text
    assert re.search(rf"Hernia {t('undefined')} –", text)


def test_a_note_is_there_once_not_once_a_finding(results):
    assert results.summary["notes"] == [
        "partly_present n=95 of=105 positive=any others_n=153 others_of=163 others=none"
    ]
    text = Page(report.html(results, {}, ENGLISH)).text
    assert "95 of 105 any-finding images and 153 of 163 others (no-finding)" in text


def test_a_run_without_any_auroc_says_so(results):
    none = {"mean": None, "sd": None, "low": None, "high": None, "findings": []}
    found = results._replace(summary=results.summary | {"mean_auroc": none})
    assert findings.verdict(found, ENGLISH).startswith("No finding has an AUROC in every run")
    assert "Mean of 0" in Page(report.html(found, {}, ENGLISH)).text


def test_a_phantom_and_a_control_are_told_first(results):
    config = dataclasses.replace(results.config, data_dir=None, control="shuffled_labels")
    sentence = findings.answer(results._replace(config=config), ENGLISH)
    assert sentence.startswith(
        "On drawn phantoms, not on patients: as a control, trained on shuffled labels: partly: better than chance "
    )


def test_findings_that_come_together_are_counted_once_an_image(results):
    labels = ["Pneumonia|Infiltration", "Pneumonia", "Hernia|-Pneumonia", "Infiltration|?", "No Finding"]
    images = pd.DataFrame({"image": [f"{i}.png" for i in range(5)], "labels": labels})
    each = [f._replace(tables=f.tables._replace(images=images)) for f in results.findings]
    counts = findings.together(results._replace(findings=each))
    assert counts.tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 1]]


def test_a_task_without_published_numbers_has_no_column_of_them(results, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "three", dataclasses.replace(findings_case.TASK, published_aurocs=()))
    text = Page(report.html(results, {}, ENGLISH)).text
    assert "CheXNet" not in text and "Published" not in findings.verdict(results, ENGLISH)


def test_a_finding_s_page_leads_back(results):
    page = Page(report.html(results.findings[0], {}, ENGLISH))
    assert "../../report.html" in [a["href"] for a in page.all("a")]
    assert "Three findings: all 3 findings" in page.text
    assert "The loss is that of all findings together" in page.text
    assert "stopped at its best epoch" not in page.text and "best epoch" not in page.text  # of all findings


def test_files(results, tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "draw_all", lambda results, t: {"learning_curve": None})
    monkeypatch.setattr(report.figures, "save", lambda name, picture: Drawn(b"", "", "", "a curve"))
    report.write(tmp_path, results)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"report.html", "findings.csv", "flow.csv", "summary.json", "environment.json", "figures"} <= names
    assert pd.read_csv(tmp_path / "findings.csv")["finding"].tolist() == list(findings_case.FINDINGS)


def test_cards_of_the_whole_and_of_a_finding(results):
    """Tables are whole, all 44 items are there, and no word speaks of two outputs, a draw of negatives, or of pneumonia
    alone."""
    for found in (results, results.findings[1]):
        card, claim = cards.model_card(found), cards.claim(found)
        assert list(items(claim)) == list(range(1, 45))
        for text in (card, claim):
            assert table_shapes(text) == {0} and "nan" not in re.findall(r"\w+", text)
            assert "3 outputs, each with a sigmoid" in text and "softmax" not in text
            assert "all images with a label" in text and "keep the ratio" not in text
            assert "binary cross-entropy, summed over the findings" in text
    mean = results.summary["mean_auroc"]
    told = f"{mean['mean']:.3f} ± {mean['sd']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})"
    assert told in cards.model_card(results)
    assert "| Hernia | 37 | 0 | – | – | 0.916 |" in cards.model_card(results)
    assert "each of 3 findings" in items(cards.claim(results))[4][2]
    assert "that of Infiltration" in cards.model_card(results.findings[1])
