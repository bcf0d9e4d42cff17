"""Dreams and maps on the page and in the cards: right, in words, escaped, small; and absent where there are none."""

import base64
import html
import io
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrjax.analysis import map_tests
from cxrjax.report import cards, pages, report
from cxrjax.report.language import DASH, ENGLISH, language
from cxrjax.report.sections import dreams, maps
from cxrjax.runs import run_folder
from tests.report import made_looks, made_results, report_case
from tests.report.report_case import ATTACK
from tests.report.test_report import Page

SMALL = dict.fromkeys(made_looks.SIZES, (30, 40))
SPANISH = language("es")


def both(code="en"):
    found = report_case.in_language(report_case.results(), code)
    return found._replace(dreams=made_looks.dreams(sizes=SMALL), maps=made_looks.maps((30, 800)))


@pytest.fixture(scope="module", params=["en", "es"])
def whole(request):
    return Page(report.html(both(request.param), {}, language(request.param)))


def words(text):
    return " ".join(text.split())


def row(table, *cells):
    """The cells of a row that begins as asked."""
    return next(line for line in table if tuple(line[: len(cells)]) == cells)


def cells(of, heading):
    """Rows of cells, as text, of the tables that follow a heading."""
    part = of.split(f'id="{heading}"')[1].split("<h2")[0]
    return [
        [
            words(html.unescape(re.sub("<.*?>", " ", cell)))
            for cell in re.findall("<t[hd].*?>(.*?)</t[hd]>", line, re.DOTALL)
        ]
        for line in re.findall("<tr.*?>(.*?)</tr>", part, re.DOTALL)
    ]


def test_sections_headings_and_alternative_texts(whole):
    ids = [a["id"] for a in whole.all("h2")]
    assert ids[ids.index("errors") :][:4] == ["errors", "dream", "looks", "runs"]
    assert "#looks" in [a["href"] for a in whole.all("a")]
    levels = [int(tag[1]) for tag, _ in whole.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    embedded = [a for a in whole.all("img") if a["src"].startswith("data:image/jpeg")][-5:]
    assert all(a["alt"] for a in embedded) and len({a["alt"] for a in embedded}) == 5
    assert not [a for a in whole.all("img") if "image/png" in a["src"]]  # the record has the first seed's dream, too
    assert all(a.get("scope") for a in whole.all("th"))
    regions = [a for _, a in whole.elements if a.get("class") == "scroll sheet"]
    assert [a["tabindex"] for a in regions] == ["0"]  # of the one wide picture


def test_pictures_come_in_order_and_unknown_kinds_do_not():
    shown = dreams.dreams(both(), ENGLISH)["pictures"]
    assert [one["caption"].split()[0] for one in shown] == ["A", "The", "Single", "Radiographs"]
    assert "(NF)" in shown[1]["caption"] and "seeds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in shown[1]["caption"]
    assert "Layers before fc6 are frozen" in shown[2]["caption"]


def test_only_a_wide_poster_holds_two_experiments():
    for width, two in ((549, False), (1090, True)):
        made = made_looks.dreams(sizes={"poster": (530, width)})
        shown = dreams.dreams(both()._replace(dreams=made), ENGLISH)["pictures"]
        assert len(shown) == 1 and ("other experiment" in shown[0]["caption"]) == two


def test_numbers_of_the_dreams():
    found = cells(report.html(both(), {}, ENGLISH), "dream")
    assert found[1:] == [
        ["octaves of pixels", "20", "100.0", "62.5", "0.12", "1"],
        ["Fourier spectrum", "20", "95.0", DASH, DASH, "0"],
    ]


def test_what_is_not_beaten_is_said_in_words():
    found = cells(report.html(both(), {}, ENGLISH), "looks")
    gradient, cam = found[1], found[2]
    assert gradient[:2] == ["gradient", "40 (30)"] and gradient[2] == "0.134 0.101 to 0.168"
    assert found[0][2:] == [
        "this network", "head of random weights", "the same everywhere (area share)",
        "the image's centre (centre prior)",
    ]  # fmt: skip
    assert gradient[3] == "0.133 0.100 to 0.170 +0.001 −0.020 to +0.022 not beaten"
    assert gradient[4] == "0.080 0.070 to 0.090 +0.054 +0.021 to +0.087 beaten"
    assert gradient[5] == "no maps" and cam[5].endswith("−0.100 −0.150 to −0.050 not beaten: it is better")
    assert row(found, "gradient", "5 (4)")[2] == "0.750 few patients"
    assert row(found, "gradient", "5 (4)")[3].endswith("+0.250 not shown to be beaten: no interval few patients")


def test_a_control_as_alike_as_the_seeds_is_said_to_be_so():
    found = cells(report.html(both(), {}, ENGLISH), "looks")[5:]
    assert found[0][1:] == [
        "this network: over seeds", "beside: head of random weights", "beside: trunk of random weights",
        "head of random weights: over seeds",
    ]  # fmt: skip
    assert found[1] == [
        "gradient", "+0.31 +0.28 to +0.34", "+0.42 +0.40 to +0.44 agrees as well as the seeds do", "no maps",
        "+0.05 −0.01 to +0.11",
    ]  # fmt: skip
    assert found[2][1] == "+0.80 few patients" and found[2][3] == "+0.12 +0.10 to +0.14"


def test_verdicts_are_those_of_the_analysis():
    made = made_looks.maps()
    verdicts = map_tests.verdicts(made.focus)
    groups = maps.maps(both()._replace(maps=made), ENGLISH)["groups"]
    assert [len(group["verdicts"]) for group in groups] == [2, 1]
    texts = [text for group in groups for text in group["verdicts"]]
    assert texts == [maps.sentence(verdict, made.focus, ENGLISH) for verdict in verdicts]
    names = {"area": "a map that is the same everywhere", "random_head": "a head of random weights"}
    assert verdicts[0].beats == ("area",) and f"It beats {names['area']}." in texts[0]
    assert verdicts[0].not_beaten == ("random_head",) and f"It does not beat {names['random_head']}." in texts[0]
    assert verdicts[0].missing == ("shuffled_labels", "random_trunk", "centre", "mean_box")
    assert "It was not compared with a network trained on shuffled labels; a trunk of random weights; " in texts[0]
    assert verdicts[1].below == ("centre",) and "It is worse than a map of the image's centre." in texts[1]
    assert texts[0].startswith("gradient: share of the map inside the box 0.13 (0.10 to 0.17).")
    assert verdicts[2].undecided == (ATTACK,) and f"not shown to beat {ATTACK}: there is no interval." in texts[2]
    assert verdicts[2].small and texts[2].endswith("These are few patients (4).")


@pytest.mark.parametrize("control", [0.02, -0.01])
def test_how_many_figures_beat_everything(control):
    names = ["trained", "random_head", "shuffled_labels", "random_trunk", "area", "centre"]
    table = pd.DataFrame(
        {
            "target": "lungs", "metric": "energy", "method": "occlusion", "network": names, "images": 50,
            "patients": 40, "value": 0.5, "low": 0.4, "high": 0.6, "difference": 0.1,
            "difference_low": [np.nan, control, 0.01, 0.01, 0.01, 0.01], "difference_high": 0.3,
            "beaten": [None, control > 0, True, True, True, True], "small": False, "zero_maps": 0, "note": "",
        }
    )  # fmt: skip
    made = made_looks.maps()._replace(focus=table)
    summary = maps.maps(both()._replace(maps=made), ENGLISH)["summary"]
    assert summary.startswith(f"{int(control > 0)} of 1 figures are shown to beat every control and every baseline.")
    card = cards.model_card(made_results.results()._replace(maps=made))
    assert f"{int(control > 0)} of 1 figures are shown to beat every control" in card


def test_reasons_and_notes(whole):
    text = words(whole.text)
    spanish = "Dónde mira" in text
    for told in (
        ("Grad-CAM, Boxes around a pneumonia, Share of the map's energy inside, this network: 3 maps are zero",
         "Grad-CAM, Recuadros alrededor de una neumonía, Parte de la energía del mapa que cae adentro, esta red: 3"),
        ("this network: the figure is the same in every patient.",
         "esta red: la cifra es la misma en todos los pacientes."),
        ("1 map is constant and is left out.", "1 mapa es constante y queda excluido."),
        ("grad_cam, lungs: not compared with shuffled_labels, because", "grad_cam, pulmones: sin comparación con"),
    ):  # fmt: skip
        assert told[spanish] in text
    left = [a for a in whole.all("li") if a.get("lang") == "en"]
    assert bool(left) == spanish  # English sentences are marked


def test_spanish_has_no_english_left(whole):
    text = words(whole.text)
    if "Dónde mira" not in text:
        return
    part = text.split("0 de 3 cifras")[1].split("Cada ejecución")[0]
    assert "Supera: un mapa igual en todas partes." in part and "Es peor que: un mapa del centro" in part
    for english in ("beat", "network", "map ", "weights", "patients", "0.1", "labels."):
        assert english not in part.replace("shuffled_labels", "").replace(made_looks.NOTES[1], ""), english


def test_what_tables_hold_is_text(whole):
    assert whole.text.count(ATTACK) > report_case.results().tables.images["view"].eq(ATTACK).any() + 12
    assert not [a for a in whole.all("img") if a.get("src") == "x"]
    assert f"beat {ATTACK}" in words(whole.text) or f"supere: {ATTACK}" in words(whole.text)


def test_without_dreams_and_maps_the_page_has_the_first_dream_alone():
    text = report.html(report_case.results(), {}, ENGLISH)
    bare = Page(text)
    assert "looks" not in [a.get("id") for _, a in bare.elements] and "#looks" not in text and "Adebayo" not in text
    assert len([a for a in bare.all("img") if a["src"].startswith("data:image/png")]) == 1
    assert "Dreams show what" not in text and 'class="weak"' not in text


def test_empty_tables_leave_a_section_that_says_so():
    made = made_looks.maps()
    empty = made._replace(
        pictures={}, focus=made.focus[:0], agreement=made.agreement[:0], numbers={"notes": ["no box at all"]}
    )
    dreams = made_looks.dreams(sizes={})._replace(numbers={})
    text = report.html(both()._replace(maps=empty, dreams=dreams), {}, ENGLISH)
    assert "No map of the trained networks could be compared with a region." in text and "no box at all" in text
    assert len([a for a in Page(text).all("img") if "image/png" in a["src"]]) == 1


def test_noisy_pictures_of_ten_seeds_leave_the_page_below_5_mb(saved):
    found = report_case.results()._replace(dreams=made_looks.dreams(), maps=made_looks.maps((2500, 2200)))
    assert len(report.html(found, saved, ENGLISH).encode()) < 5e6


@pytest.mark.parametrize(
    ("shape", "size"), [((40, 3200, 3), (1600, 20)), ((50, 60), (60, 50)), ((50, 60, 3), (60, 50))]
)
def test_pictures_are_scaled_down_never_up(shape, size):
    fitted = pages.fitted(np.full(shape, 100, np.uint8))
    assert (fitted.width, fitted.height) == size
    with Image.open(io.BytesIO(fitted.file)) as opened:
        assert opened.size == size and opened.format == "JPEG" and opened.mode == ("RGB" if len(shape) == 3 else "L")
        # Of one colour nothing is lost but the rounding of JPEG's colour space.
        assert np.abs(np.asarray(opened).astype(int) - 100).max() <= 1


def test_a_picture_of_too_many_bytes_gets_smaller():
    fitted = pages.fitted(made_looks.noise(900, 1600), most=100_000)
    assert len(fitted.file) <= 100_000 and fitted.width / fitted.height == pytest.approx(16 / 9, rel=0.01)
    assert fitted.width < 1600 and len(pages.fitted(made_looks.noise(5, 5), most=1).file) > 1  # it ends


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8)])
def test_other_arrays_are_no_pictures(bad):
    with pytest.raises(ValueError, match=r"image must be \[H, W\] or \[H, W, 3\] u8"):
        pages.fitted(bad)


def test_a_record_read_from_files_gives_the_same_page(tmp_path):
    made = both()
    numbers = json.loads(json.dumps(made.dreams.numbers).replace("NaN", "null"))
    run_folder.write_record(tmp_path / "dreams", made.dreams.pictures, {"transfer": made.dreams.transfer}, numbers)
    tables = {"focus": made.maps.focus, "agreement": made.maps.agreement, "boxes": made.maps.boxes}
    run_folder.write_record(tmp_path / "maps", made.maps.pictures, tables, made.maps.numbers)
    again = made._replace(dreams=run_folder.read_dreams(tmp_path), maps=run_folder.read_maps(tmp_path))
    assert report.html(again, {}, ENGLISH) == report.html(made, {}, ENGLISH)


def test_cards_tell_of_dreams_and_maps():
    bare = made_results.results()
    told = bare._replace(dreams=made_looks.dreams(sizes=SMALL), maps=made_looks.maps((30, 40)))
    card, claim = cards.model_card(told), cards.claim(told)
    assert "octaves of pixels: 100.0 % by the network that dreamt them, 62.5 % by the other seeds'" in card
    assert "0 of 3 figures are shown to beat every control and every baseline" in card
    item = next(line for line in claim.splitlines() if line.startswith("| 31 |"))
    assert "62.5 %" in item and "gradient, grad_cam: 0 of 3 figures" in item and "dreams/; maps/" in item
    assert "saliency" not in item and "any validation by a reader" in item
    for text in (cards.model_card(bare), cards.claim(bare)):
        assert "maps/" not in text and "dreams/" not in text
    assert "saliency for single images" in cards.claim(bare)


def test_embedded_pictures_are_those_of_the_record():
    made = made_looks.dreams(sizes={"seeds": (64, 48)})
    flat = made._replace(pictures={"seeds": np.full((64, 48, 3), (200, 40, 90), np.uint8)})
    shown = dreams.dreams(both()._replace(dreams=flat), ENGLISH)["pictures"][0]
    with Image.open(io.BytesIO(base64.b64decode(shown["source"]))) as opened:
        assert np.abs(np.asarray(opened).astype(int) - (200, 40, 90)).max() <= 3  # JPEG's colour space, rounded
