"""The page in a real Chromium: the slider by keyboard against scikit-learn, nothing fetched, no error, no other script.

Debian: apt-get install chromium chromium-driver; the test skips where they are missing.
"""

import re

import numpy as np
import pytest
from sklearn import metrics

from cxrjax.report import figures, report, sections
from cxrjax.report.language import language
from tests.report import report_case
from tests.report.in_browser import contrast_below, has_fetched, is_as_wide_as
from tests.report.report_case import ATTACK

pytest.importorskip("selenium.webdriver", reason="needs Selenium: pip install -e '.[dev]'")
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Language -> address of the page."""
    folder = tmp_path_factory.mktemp("pages")
    addresses = {}
    for code in ("en", "es"):
        t, found = language(code), report_case.in_language(report_case.results(), code)
        drawn = {"subgroups": figures.save("subgroups", sections.draw("subgroups", found, t))}
        (folder / f"{code}.html").write_text(report.html(found, drawn, t))
        addresses[code] = (folder / f"{code}.html").as_uri()
    return addresses


@pytest.fixture
def page(browser, pages):
    """The English page, newly opened; it must not have complained in the end."""
    browser.get_log("browser"), browser.get_log("performance")
    browser.get(pages["en"])
    yield browser
    assert browser.get_log("browser") == []


def of_table(browser):
    """What the page says of each set and figure, in percent."""
    cells = browser.execute_script(
        "return [...document.querySelectorAll('td[data-metric]')]"
        ".map((cell) => [cell.dataset.set, cell.dataset.metric, cell.textContent])"
    )
    return {(data, name): text for data, name, text in cells}


def expected(table, threshold, prevalence):
    """The same out of scores and labels, mean over the seeds in which a figure is defined, by scikit-learn."""
    rows = []
    for _, own in table.groupby("seed"):
        label, called = own["label"], own["score"] > np.float32(threshold)
        tn, fp, fn, tp = metrics.confusion_matrix(label, called, labels=[False, True]).ravel()
        sensitivity = metrics.recall_score(label, called, zero_division=np.nan)
        specificity = metrics.recall_score(label, called, pos_label=0, zero_division=np.nan)
        found, alarms = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        missed, quiet = prevalence * (1 - sensitivity), (1 - prevalence) * specificity
        rows.append(
            {
                "accuracy": metrics.accuracy_score(label, called),
                "sensitivity": sensitivity,
                "specificity": specificity,
                "fp_share": fp / len(own),
                "fn_share": fn / len(own),
                "ppv": metrics.precision_score(label, called, zero_division=np.nan),
                "npv": metrics.precision_score(label, called, pos_label=0, zero_division=np.nan),
                "ppv_at_prevalence": found / (found + alarms) if tp + fp else np.nan,
                "npv_at_prevalence": quiet / (quiet + missed) if tn + fn else np.nan,
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def check(browser, threshold, prevalence=0.013, decimal="."):
    shown, tables = of_table(browser), report_case.results().tables
    assert len(shown) == 18
    for data, table in (("internal", tables.predictions), ("external", tables.external)):
        for name, values in expected(table, threshold, prevalence).items():
            text = shown[data, name]
            defined = values[~np.isnan(values)]
            if not len(defined):
                assert text == "–", (data, name)
                continue
            number = float(re.match(rf"\d+\{decimal}\d", text)[0].replace(decimal, "."))
            assert number == pytest.approx(100 * defined.mean(), abs=0.05 + 1e-9), (data, name)
            assert ("runs)" in text or "ejecuciones)" in text) == (len(defined) < len(values)), (data, name)


def slider(browser):
    return browser.find_element(By.ID, "threshold")


def test_the_slider_by_keyboard_gives_the_right_numbers(page):
    check(page, 0.5)
    slider(page).send_keys(Keys.ARROW_RIGHT * 27)
    assert page.find_element(By.ID, "threshold-value").text == "0.635"
    check(page, 0.635)
    slider(page).send_keys(Keys.ARROW_LEFT * 90)
    check(page, 0.185)
    slider(page).send_keys(Keys.END)
    check(page, 1.0)  # nothing is called positive: PPV is undefined
    slider(page).send_keys(Keys.ARROW_LEFT * 8)
    check(page, 0.96)
    slider(page).send_keys(Keys.HOME)
    check(page, 0.0)


def test_buttons_and_prevalence(page):
    chosen = page.find_elements(By.CSS_SELECTOR, "button[data-threshold]")[1]
    assert chosen.text == f"chosen: {float(chosen.get_attribute('data-threshold')):.3f}"
    chosen.send_keys(Keys.ENTER)
    check(page, float(chosen.get_attribute("data-threshold")))
    field = page.find_element(By.ID, "prevalence")
    field.clear()
    field.send_keys("20")
    page.find_element(By.CSS_SELECTOR, "button[data-threshold]").send_keys(Keys.SPACE)
    check(page, 0.5, prevalence=0.2)
    told = page.find_element(By.ID, "summary").text
    sensitivity = expected(report_case.results().tables.predictions, 0.5, 0.2)["sensitivity"].mean()
    found = round(200 * sensitivity)
    assert f"200 with pneumonia ({found} found, {200 - found} missed) and 800 without" in told
    for wrong in ("101", "-1", ""):
        field.clear()
        field.send_keys(wrong)
        assert page.find_element(By.ID, "prevalence-problem").text == "The prevalence must be a number from 0 to 100."
        assert of_table(page)["internal", "ppv_at_prevalence"] == "–" != of_table(page)["internal", "ppv"]


def test_every_control_is_reached_by_tab_and_shows_it(page):
    page.execute_script("document.body.tabIndex = -1; document.body.focus()")
    reached = []
    for _ in range(60):
        page.switch_to.active_element.send_keys(Keys.TAB)
        element = page.switch_to.active_element
        reached.append(element.get_attribute("id") or element.get_attribute("data-threshold") or element.tag_name)
        assert element.value_of_css_property("outline-style") != "none", reached
        if element.get_attribute("id") == "prevalence":
            break
    assert reached[0] == "a" and reached[-4:-2] == ["threshold", "0.5"] and reached[-1] == "prevalence"
    told = page.find_element(By.ID, "summary")
    assert told.tag_name == "output" and told.get_attribute("aria-live") == "polite"


def test_nothing_is_fetched(page):
    addresses = has_fetched(page)
    assert len(addresses) > 5
    assert {address.split(":")[0] for address in addresses} == {"file", "data"}
    assert [address for address in addresses if address.startswith("file:")] == [page.current_url]


def test_what_users_wrote_stays_text(page):
    assert page.find_elements(By.CSS_SELECTOR, "[onerror]") == [] == page.find_elements(By.CSS_SELECTOR, "img[src=x]")
    assert ATTACK in page.find_element(By.CSS_SELECTOR, "#errors ~ ul dd:last-child").text
    assert ATTACK in page.find_element(By.CSS_SELECTOR, "#subgroups ~ .scroll tbody").text
    assert "<img" in page.find_element(By.CSS_SELECTOR, "#figure-subgroups svg").text
    with pytest.raises(NoAlertPresentException):
        page.switch_to.alert.accept()


def test_no_other_script_would_run(browser, pages):
    """The page's policy, should an escape ever be missing."""
    browser.get(pages["en"])
    browser.execute_script(
        "document.body.insertAdjacentHTML('beforeend', arguments[0])", '<img src="data:," onerror="hit = 1">'
    )
    browser.execute_script("const s = document.createElement('script'); s.text = 'hit = 2'; document.body.append(s)")
    browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert browser.execute_script("return typeof hit") == "undefined"
    assert sum("Content Security Policy" in entry["message"] for entry in browser.get_log("browser")) >= 2


def test_in_spanish(browser, pages):
    browser.get(pages["es"])
    slider(browser).send_keys(Keys.ARROW_RIGHT)
    check(browser, 0.505, decimal=",")
    assert browser.find_element(By.ID, "threshold-value").text == "0,505"
    assert browser.find_element(By.ID, "summary").text.startswith("Umbral 0,505: sensibilidad ")


@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_is_as_wide_as_the_window(page, width):
    """Wide tables scroll on their own."""
    assert is_as_wide_as(page, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_the_ground(page, scheme):
    """Contrast of WCAG 2.2 AA, 4.5 to 1, of every element that holds text."""
    assert not contrast_below(page, 4.5, scheme, least=300)
