"""One run's report, drawn and written once for all tests of it."""

import shutil

import pytest

from cxrjax.report import figures, report, sections
from cxrjax.report.language import ENGLISH
from tests.report import report_case
from tests.report.in_browser import OPTIONS


@pytest.fixture(scope="session")
def pictures():
    """Every figure of `report_case.results()`, in English."""
    return sections.draw_all(report_case.results(), ENGLISH)


@pytest.fixture(scope="session")
def saved(pictures):
    """The files of these figures."""
    return {name: figures.save(name, picture) for name, picture in pictures.items()}


@pytest.fixture(scope="session")
def folder(tmp_path_factory, pictures, saved):
    """The run's folder as `report.write` leaves it."""
    path = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "draw_all", lambda results, t: pictures)
        patch.setattr(figures, "save", lambda name, picture: saved[name])
        report.write(path, report_case.results())
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, one for all tests. Debian: apt-get install chromium chromium-driver; tests skip where it is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs Selenium: pip install -e '.[dev]'")
    from selenium.webdriver.chrome.service import Service

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs Chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, Service(driver))
    yield started
    started.quit()
