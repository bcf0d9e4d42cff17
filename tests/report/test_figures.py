"""Curves against scikit-learn; every figure in both languages: nothing is cut, names differ, colours are the page's."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from cxrjax.report import figures, sections
from cxrjax.report.figures import curves, forest, scores
from cxrjax.report.language import ENGLISH, language
from tests.report import report_case
from tests.report.report_case import ATTACK


def random_scores(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    return label, (rng.normal(size=n) + label).round(2)  # ties


def test_the_area_under_the_roc_curve_is_auroc():
    label, score = random_scores()
    area = np.trapezoid(curves.roc_at(label, score), curves.GRID)
    assert area == pytest.approx(roc_auc_score(label, score), abs=2e-3)  # a grid of 101 rates


def test_the_area_under_precision_and_recall_is_average_precision():
    label, score = random_scores()
    at = curves.precision_at(label, score)
    assert np.mean((at[1:] + at[:-1]) / 2) == pytest.approx(average_precision_score(label, score), abs=2e-3)


def test_precision_by_hand():
    """From the highest score: negative, positive, negative, positive."""
    at = curves.precision_at(np.array([1, 0, 1, 0]), np.array([0.2, 0.4, 0.6, 0.8]))
    assert at[[0, 1, 50]] == pytest.approx(1 / 2)
    assert at[[51, 100]] == pytest.approx(2 / 4)
    perfect = curves.precision_at(np.array([0, 1]), np.array([0.2, 0.4]))
    assert (perfect == 1).all()


def test_a_seed_of_one_class_has_no_curve():
    table = pd.DataFrame({"seed": [0, 0, 1, 1], "label": [0, 1, 1, 1], "score": [0.1, 0.9, 0.5, 0.6]})
    assert len(curves.over_seeds(table, curves.roc_at)) == 1


def test_confusion_is_that_of_scikit_learn():
    found = report_case.results()
    table, chosen = found.tables.predictions, found.analysis.seeds.set_index("seed")["threshold"]
    for threshold, of in ((0.5, lambda seed: 0.5), (chosen, chosen.get)):
        expected = [
            confusion_matrix(own["label"], own["score"] > np.float32(of(seed))) for seed, own in table.groupby("seed")
        ]
        assert scores.confusion_at(table, threshold) == pytest.approx(np.array(expected))


def test_shares_of_the_confusion_matrix_are_means_of_runs_as_in_the_table():
    """Of runs of unlike size: 1 of 2 and 0 of 8 images are 25 %, not 1 of 10."""
    pictures = scores.confusion({"a": np.array([[[1, 1], [0, 0]], [[8, 0], [0, 0]]])}, ("NF", "P"), ENGLISH)
    texts = [text.get_text() for text in pictures.figure.axes[0].texts]
    assert texts == ["4.5", "75.0 %", "0.5", "25.0 %", "0.0", "0.0 %", "0.0", "0.0 %"]


def test_figures_are_there_for_what_the_results_hold(pictures):
    assert set(pictures) == {
        "flow", "learning_curve", "roc", "precision_recall", "calibration", "floors", "per_seed", "scores", "confusion",
        "scores_external", "confusion_external", "leakage", "subgroups", "subgroups_decisions",
    }  # fmt: skip
    bare = sections.draw_all(report_case.bare(), ENGLISH)
    assert set(pictures) - set(bare) == {
        "scores_external", "confusion_external", "leakage", "subgroups", "subgroups_decisions",
    }  # fmt: skip
    figures.save("per_seed", bare["per_seed"])


@pytest.mark.parametrize("code", ["en", "es"])
def test_no_text_is_cut_and_none_lies_on_another(pictures, code, monkeypatch):
    drawn = pictures if code == "en" else sections.draw_all(report_case.results(), language(code))
    for name, picture in drawn.items():
        assert len(check_texts(name, picture, monkeypatch)) > 8


def check_texts(name, picture, monkeypatch):
    """Every text of a figure lies inside it, and none on another; gives them with their boxes."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_drawn(picture.figure, monkeypatch)]
    for i, (text, box) in enumerate(boxes):
        edge = picture.figure.bbox
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= edge.width + 1 and box.y1 <= edge.height + 1
        assert inside, (name, text)
        # A box holds room for letters that reach below the line: two pixels of it may touch another's.
        covered = [other for other, near in boxes[i + 1 :] if box.padded(-2).overlaps(near.padded(-2))]
        assert not covered, (name, text, covered)
    return boxes


def texts_drawn(figure, monkeypatch):
    """What is really drawn: there are more ticks than that."""
    drawn, draw = [], Text.draw

    def noted(self, *args):
        if self.get_visible() and self.get_text():
            drawn.append(self)
        draw(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        FigureCanvasAgg(figure).draw()
    return drawn


def test_png_and_svg_are_whole_and_equal_figures_are_equal_bytes(saved):
    for one in saved.values():
        with Image.open(io.BytesIO(one.png)) as image:
            assert image.width == pytest.approx(figures.WIDTH * 200, abs=1)
        assert one.svg.rstrip().endswith("</svg>")
    again = figures.save("roc", sections.draw("roc", report_case.results(), ENGLISH))
    assert again == saved["roc"]


def test_inside_a_page_colours_are_its_own_and_names_are_unique(saved):
    names = []
    for one in saved.values():
        assert not re.search(r"#[0-9a-f]{6}\b", one.inline.replace("#000000", "")), (
            "a colour that the dark does not change"
        )
        own = re.findall(r' id="([^"]+)"', one.inline)
        assert set(re.findall(r'(?:url\(#|href="#)([^)"]+)', one.inline)) <= set(own)
        names += own
        assert "<style" not in one.inline and "http" not in one.inline and "xlink" not in one.inline
    assert len(set(names)) == len(names)


def test_groups_names_are_text(saved):
    """Whatever a view is called: neither an element nor a formula."""
    assert "&lt;img src=x" in saved["subgroups"].inline
    assert "<img" not in saved["subgroups"].inline + saved["subgroups"].svg
    table = report_case.results().analysis.subgroups
    odd = table.assign(group=[r"$\frac{1$", "a\x00b", "正位", *table["group"][3:]])
    figures.save("odd", forest.subgroups(odd, {"auroc": 0.8}, "AUROC", ENGLISH))
    assert ATTACK[:5] in table["group"].iloc[0]


def test_alternative_texts_tell_the_numbers(pictures):
    found = report_case.results().analysis
    auroc = found.metrics.query("data == 'internal' and rule == 'fixed' and metric == 'auroc'").iloc[0]
    assert f"validation: AUROC {auroc['mean']:.3f} ± {auroc['sd']:.3f}; external: AUROC" in pictures["roc"].alt
    metadata = found.floors.set_index("floor").loc["metadata"]
    assert f"all metadata {metadata['auroc']:.3f}" in pictures["floors"].alt
    assert "train" not in pictures["flow"].alt.replace("training", "")
    assert all(len(picture.alt) > 60 for picture in pictures.values())


def test_a_flow_shows_no_exclusion_of_nothing():
    table = report_case.results().tables.flow
    shown = scores.stages_shown(table)
    assert not (shown["excluded"] & (shown["images"] == 0)).any()
    assert set(table["stage"]) - set(shown["stage"]) <= set(table["stage"][table["images"] == 0])
    row = {"images": 1, "patients": 1, "positives": 1, "negatives": 0}
    assert scores.counts(row, "P", ENGLISH) == ["1 image, 1 patient", "1 P, 0 negative"]
    row |= {"images": 12.44, "patients": np.nan, "positives": np.nan, "negatives": 3}
    assert scores.counts(row, "P", language("es")) == ["12,4 imágenes", "3 negativas"]
