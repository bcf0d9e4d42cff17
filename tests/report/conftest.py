"""One run's report, drawn and written once for all tests of it."""

import pytest

from cxrjax.report import figures, report, sections
from cxrjax.report.language import ENGLISH
from tests.report import report_case


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
