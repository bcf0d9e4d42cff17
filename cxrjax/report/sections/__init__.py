"""The report's sections, in order: `SECTIONS` of a run of two classes and of one finding, `OVERVIEW` of a run with many
labels. To add one, write a module beside these with a `Section` and give it its
place in a list; from outside, call `register`. The page's contents follow the list.
"""

from __future__ import annotations

from typing import Any

from cxrjax.analysis.tables import FindingsResults, Results
from cxrjax.report.figures import Picture
from cxrjax.report.language import Language
from cxrjax.report.pages import Section
from cxrjax.report.sections import comparisons, dreams, findings, maps, run, scores

SECTIONS: list[Section[Any]] = [
    comparisons.PUBLISHED,
    comparisons.RESULT,
    run.FLOW,
    run.LEARNING,
    scores.DISCRIMINATION,
    scores.CALIBRATION,
    scores.DECISIONS,
    scores.EXPLORE,
    scores.ALL_METRICS,
    comparisons.FLOORS,
    comparisons.LEAKAGE,
    comparisons.SUBGROUPS,
    comparisons.HELD_OUT,
    comparisons.EXTERNAL,
    run.ERRORS,
    dreams.DREAMS,
    maps.MAPS,
    run.EVERY_RUN,
    run.REPRODUCE,
    run.SOURCES,
    run.LIMITS,
]
OVERVIEW: list[Section[Any]] = [
    findings.FINDINGS,
    findings.DECISIONS,
    findings.CURVES,
    findings.TOGETHER,
    run.FLOW,
    run.LEARNING,
    run.REPRODUCE,
    run.SOURCES,
    run.LIMITS,
]


def of(results: Results | FindingsResults) -> list[Section[Any]]:
    """The sections of a report, in order."""
    return OVERVIEW if isinstance(results, FindingsResults) else SECTIONS


def register(section: Section[Results], after: str | None = None) -> Section[Results]:
    """Adds a section to every report of two classes written from now on.

    Args:
      section: Its key must be new.
      after: Key of the section that it follows; None: it comes last.

    Raises:
      ValueError: if there is a section of its key, or none of key `after`.
    """
    keys = [known.key for known in SECTIONS]
    if section.key in keys:
        raise ValueError(f"section.key must be new, got {section.key!r}")
    if after is not None and after not in keys:
        raise ValueError(f"after must be one of {', '.join(keys)}, got {after!r}")
    SECTIONS.insert(len(keys) if after is None else keys.index(after) + 1, section)
    return section


def draw(name: str, results: Results | FindingsResults, t: Language) -> Picture | None:
    """One figure by its name; None where the results do not allow it.

    Raises:
      KeyError: if no section has a figure of this name.
    """
    return {name: draw for section in of(results) for name, draw in section.figures.items()}[name](results, t)


def draw_all(results: Results | FindingsResults, t: Language) -> dict[str, Picture]:
    """Every figure that the results allow, by name, in the order of the page."""
    pictures = {name: draw(results, t) for section in of(results) for name, draw in section.figures.items()}
    return {name: picture for name, picture in pictures.items() if picture is not None}
