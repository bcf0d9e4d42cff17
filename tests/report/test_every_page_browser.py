"""Every task's report and the comparison of two runs in a real Chromium: a small run of each, by the programs."""

import json

import pytest

from cxrjax.analysis import comparison
from cxrjax.base import tasks
from cxrjax.report import comparison_page, figures, report, sections
from cxrjax.report.figures import Drawn
from cxrjax.report.language import language
from cxrjax.runs import findings
from cxrjax.runs.results import read_compared
from cxrjax.storage.store import About, write_store
from tests.experiments import commands
from tests.models import toy
from tests.report.in_browser import contrast_below, has_fetched, is_as_wide_as, overflowing_when_printed

pytest.importorskip("selenium.webdriver", reason="needs Selenium: pip install -e '.[dev]'")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

SCRIPT = "<script>hit = 1</script>"
CATS = tasks.Task(
    "cats", f"Cat against Dog {SCRIPT}", f"Is a cat told from a dog? {SCRIPT}",
    tasks.LabelClass("Cat", f"cat {SCRIPT}", "contains", "Cat"),
    tasks.LabelClass("Dog", "dog", "contains", "Dog"), (1, 1),
)  # fmt: skip


@pytest.fixture(scope="module")
def cats(run_small, small_phantom, tmp_path_factory):
    """A run of a task and a network of somebody else's; names of its classes, images and patients are scripts."""
    toy.register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tasks.TASKS, "cats", CATS)
        table = small_phantom.table[:45].assign(
            labels=["Cat", "Dog", "Dog"] * 15,
            image=[f"{SCRIPT}{i}.png" for i in range(45)],
            patient=[f"{SCRIPT}{i // 2}" for i in range(45)],
        )
        folder = tmp_path_factory.mktemp("cats") / "store"
        write_store(folder, table, small_phantom.images[:45, ::5, ::5][:, :48, :48], About(SCRIPT, {}, {}, {}))
        yield run_small("cats", data_dir=str(folder), model="toy", retrain_from="c")


@pytest.fixture(scope="module")
def texts(run_of, run_small, cats, tmp_path_factory):
    """Page -> its HTML, and the answer that it must begin with."""
    here = run_of("p_vs_nf")
    data = json.loads((here / "config.json").read_text())["data_dir"]
    other = run_small(data_dir=data, augment_bank=1, epochs=3).rename(here.parent / f"b {SCRIPT[:-9]}")

    def of_run(folder, lang="en", drawn=False):
        found, t = findings.reopen_any(folder, lang=lang), language(lang)
        pictures = sections.draw_all(found, t) if drawn else {}
        inline = {name: Drawn(b"", "", figures.inline(name, x), x.alt) for name, x in pictures.items()}
        return report.html(found, inline, t), report.answer(found, t)

    def compared(lang):
        out = tmp_path_factory.mktemp("compared") / "page.html"
        if lang == "en":
            assert commands.call("compare", here, other, f"--html={out}") == 0
            return out.read_text(), "Not "
        both = [findings.reopen_any(folder, lang=lang) for folder in (here, other)]
        of_both = comparison.compare(*map(read_compared, (here, other)))
        return comparison_page.html(of_both, both, ["a", SCRIPT]), "No se "

    return {
        "p_vs_nf": lambda: of_run(here, drawn=True),
        "spanish": lambda: of_run(here, "es"),
        "chestxray14": lambda: of_run(run_of("chestxray14"), drawn=True),
        "one_of_14": lambda: of_run(run_of("chestxray14") / "findings" / "Effusion"),
        "pneumonia": lambda: of_run(run_of("pneumonia")),
        "tuberculosis": lambda: of_run(run_of("tuberculosis")),
        "cats": lambda: of_run(cats),
        "compared": lambda: compared("en"),
        "comparadas": lambda: compared("es"),
    }


PAGES = "p_vs_nf", "spanish", "chestxray14", "one_of_14", "pneumonia", "tuberculosis", "cats", "compared", "comparadas"
DRAWN = "p_vs_nf", "chestxray14", "compared"


@pytest.fixture(scope="module", params=PAGES)
def page(request, browser, texts, tmp_path_factory):
    """A browser with one page newly opened, its name, and the answer that it must begin with."""
    text, expected = texts[request.param]()
    file = tmp_path_factory.mktemp("page") / "page.html"
    file.write_text(text)
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(file.as_uri())
    browser.name_of_page, browser.expected = request.param, expected
    return browser


def test_it_fetches_nothing_and_runs_no_script_but_its_own(page):
    fetched = [address for address in has_fetched(page) if not address.startswith("data:")]
    assert fetched == [page.current_url]
    assert page.execute_script("return typeof hit") == "undefined"
    of_run = page.name_of_page not in ("chestxray14", "pneumonia", "compared", "comparadas")
    scripts = page.execute_script("return [...document.scripts].filter((e) => e.type !== 'application/json').length")
    assert scripts == of_run  # the slider's
    assert page.get_log("browser") == []
    shown = page.find_element(By.TAG_NAME, "body").text
    assert ("<script>hit" in shown) == (page.name_of_page in ("cats", "compared", "comparadas"))


def test_the_first_screen_has_the_answer(page):
    page.set_window_size(1400, 900)
    answer = page.find_element(By.ID, "answer")
    assert answer.text.startswith(page.expected) and len(answer.text) > 20
    assert answer.rect["y"] + answer.rect["height"] < 500
    language = page.find_element(By.TAG_NAME, "html").get_attribute("lang")
    assert language == ("es" if page.name_of_page in ("spanish", "comparadas") else "en")


def test_it_is_as_wide_as_the_window_and_the_paper(page):
    """At 400 pixels what is wider scrolls on its own, by keyboard, too; on paper nothing does."""
    assert is_as_wide_as(page, 400) and is_as_wide_as(page, 1400)
    alone = page.execute_script(
        """return [...document.querySelectorAll("body *:not(pre, nav)")]
             .filter((e) => /auto|scroll/.test(getComputedStyle(e).overflowX) && e.tabIndex !== 0)
             .map((e) => e.outerHTML.slice(0, 80));"""
    )
    assert alone == [] == overflowing_when_printed(page)


def test_the_keyboard_leads_past_the_contents_first(page):
    page.execute_script("scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus()")
    page.switch_to.active_element.send_keys(Keys.TAB)
    skip = page.switch_to.active_element
    assert skip.get_attribute("class") == "skip" and skip.value_of_css_property("outline-style") != "none"
    skip.send_keys(Keys.ENTER)
    assert page.current_url.endswith("#main")


def test_texts_stand_out_in_the_dark_and_in_the_light(page):
    for scheme in ("dark", "light"):
        assert not contrast_below(page, 4.5, scheme, least=300 if page.name_of_page in DRAWN else 60)
