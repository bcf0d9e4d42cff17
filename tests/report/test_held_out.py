"""Images held out in the report, the model card and the last lines: their numbers against SciPy and scikit-learn."""

import functools
import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.metrics import accuracy_score, roc_auc_score

from cxrjax.report import cards, report, rows, sections, terminal
from cxrjax.report.language import ENGLISH, language
from cxrjax.report.rows import Numbers
from cxrjax.report.sections.verdict import verdict
from cxrjax.runs import results as run_results
from tests.report import made_results


@functools.cache
def held_out():
    """The invented run, whose external set stands for its held-out images as well."""
    found = made_results.results(test="boxes")
    tables = found.tables._replace(test=found.tables.external)

    def twice(table):
        return pd.concat([table, table[table["data"] == "external"].assign(data="test")], ignore_index=True)

    names = ("metrics", "ensemble", "operating", "calibration")
    tested = {name: twice(getattr(found.analysis, name)) for name in names}
    analysis = found.analysis._replace(test_seeds=found.analysis.external_seeds, **tested)
    return found._replace(tables=tables, analysis=analysis)


@pytest.fixture(scope="module")
def expected():
    """Mean AUROC and accuracy of single networks, and of the ensemble."""
    images = held_out().tables.test
    singles = images.pivot(index="image", columns="seed", values="score")
    label = images.drop_duplicates("image").set_index("image").loc[singles.index, "label"]
    ensemble = expit(logit(singles).mean(axis=1))
    of_each = [(roc_auc_score(label, score), accuracy_score(label, score > 0.5)) for _, score in singles.items()]
    return np.mean(of_each, axis=0), (roc_auc_score(label, ensemble), accuracy_score(label, ensemble > 0.5))


def section(lang):
    page = report.html(held_out(), {}, language(lang))
    return {part.partition('"')[0]: part for part in page.split('<h2 id="')}["held_out"]


def cells(part, name):
    """Texts of the row of the ensemble's table that begins with a name."""
    found = re.findall("<tr>.*?</tr>", part, re.DOTALL)
    row = next(row for row in found if f">{name}<" in row and row.count("<td") == 3)
    return [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in re.findall("<td.*?</td>", row, re.DOTALL)]


@pytest.mark.parametrize(("lang", "words", "point"), [("en", "Ensemble", "."), ("es", "Conjunto", ",")])
def test_the_section_says_what_the_networks_reach_together(expected, lang, words, point):
    part = section(lang)
    single, ensemble, gain = cells(part[part.index(words) :], "AUROC")
    (alone, _), (together, _) = expected
    assert single == f"{alone:.3f}".replace(".", point)
    assert ensemble.startswith(f"{together:.3f}".replace(".", point))
    assert gain.startswith(f"{together - alone:+.3f}".replace(".", point))
    assert "--test=boxes" in part and "None:" not in part


@pytest.mark.parametrize(("lang", "point"), [("en", "."), ("es", ",")])
def test_the_first_paragraph_tells_the_auroc_on_held_out_images(expected, lang, point):
    (alone, _), _ = expected
    text = verdict(held_out(), language(lang))
    assert re.search("On held-out images this network|En las imágenes reservadas", text)
    assert f" {alone:.2f}, ".replace(".", point) in text
    assert "held-out" not in verdict(made_results.results(), ENGLISH)


def test_intervals_are_beside_ensemble_and_gain():
    row = held_out().analysis.ensemble.set_index(["data", "metric"]).loc[("test", "auroc")]
    part = section("en")
    _, ensemble, gain = cells(part[part.index("Ensemble") :], "AUROC")
    assert f"{row['ensemble_low']:.3f} to {row['ensemble_high']:.3f}" in ensemble
    assert f"{row['gain_low']:+.3f} to {row['gain_high']:+.3f}" in gain.replace("−", "-")


def test_curves_and_card_have_the_set(expected):
    auroc = rows.metrics(held_out(), "test", "fixed", Numbers(ENGLISH))["auroc"].mean
    assert f"held out: AUROC {auroc}" in sections.draw("roc", held_out(), ENGLISH).alt
    assert sections.draw("scores_test", held_out(), ENGLISH) is not None
    card = cards.model_card(held_out())
    (_, alone), (_, together) = expected
    assert re.search(rf"\| Accuracy \| {100 * alone:.1f} % \| {100 * together:.1f} % \| ", card)


def test_the_terminal_has_a_row_of_the_set_and_a_line_of_each_ensemble(expected):
    found = held_out()
    data = found.summary["data"]
    summary = run_results.summarise(found.config, data, found.analysis, 12.0)
    shown = terminal.result(summary)
    lines, of_set = shown.notes, next(row for row in shown.rows if row[0] == "test set")
    assert of_set[4].startswith(f"{summary['test']['auroc']['mean']:.3f} ± ") and len(lines) == 2
    (alone, _), (together, _) = expected
    row = found.analysis.ensemble.set_index(["data", "metric"]).loc[("test", "auroc")]
    assert lines[1] == (
        f"test, ensemble of 4: AUROC {together:.3f} ({row['ensemble_low']:.3f} to {row['ensemble_high']:.3f}); "
        f"gain over single networks {together - alone:.3f} ({row['gain_low']:.3f} to {row['gain_high']:.3f})"
    )
    assert summary["ensemble"]["test"]["brier"]["gain"] is None
    assert terminal.result(summary | {"ensemble": None}).notes == ()
