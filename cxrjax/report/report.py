"""Results -> files: tables, figures, one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrjax.analysis import tables
from cxrjax.analysis.schema import Results
from cxrjax.base import files, tasks
from cxrjax.base.config import command_line
from cxrjax.report import cards, page, report_dreams, report_looks, report_rows, report_view
from cxrjax.report.figures import drawing, style
from cxrjax.report.figures.style import Drawn
from cxrjax.report.language import Language, language, printable
from cxrjax.report.verdict import verdict

_SCRIPT = Path(__file__).parent / "report_parts" / "threshold.js"


def write(folder: Path, results: Results) -> None:
    """Writes every file of a run; summary.json comes last, its presence says that the run is finished."""
    tables.write(folder, results.tables, results.analysis)
    files.write_json(folder / "environment.json", results.environment)
    files.write_bytes(folder / "dream.png", page.png(results.dream))
    write_pages(folder, results)
    files.write_json(folder / "summary.json", results.summary)


def write_pages(folder: Path, results: Results) -> None:
    """Writes what people read: figures, the report, the model card and the CLAIM checklist."""
    t = language(results.config.lang)
    drawn = {name: style.save(name, picture) for name, picture in drawing.draw(results, t).items()}
    (folder / "figures").mkdir(exist_ok=True)
    for name, one in drawn.items():
        files.write_bytes(folder / "figures" / f"{name}.png", one.png)
        files.write_text(folder / "figures" / f"{name}.svg", one.svg)
    files.write_bytes(folder / "learning_curve.png", drawn["learning_curve"].png)
    files.write_text(folder / "report.html", html(results, drawn, t))
    files.write_text(folder / "model_card.md", cards.model_card(results))
    files.write_text(folder / "claim_2024.md", cards.claim(results))


def html(results: Results, drawn: Mapping[str, Drawn], t: Language) -> str:
    """The report as one HTML page with its pictures, style and script inside; it fetches nothing.

    A policy in its head lets browsers run this script alone, whatever names and labels may hold.

    Args:
      results: of the run.
      drawn: its figures by name, see `drawing.draw`; the page does without those that are absent.
      t: of its words.
    """
    script = _SCRIPT.read_text(encoding="utf-8")
    return page.render(
        "report.html.jinja",
        language=t,
        title=tasks.get(results.config.task).title,
        question=report_view.question(results.config, t),
        verdict=verdict(results, t),
        notes=[t.retell(note) for note in results.summary["notes"]],
        half=t.number(0.5, 1),
        config=results.config,
        data=results.summary["data"],
        drawn=drawn,
        dream=page.inline(page.png(results.dream)),
        dreams=report_dreams.dreams(results, t),
        looks=report_looks.looks(results.maps, t),
        command=printable(command_line(results.config)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **_tables(results, t),
    )


def _tables(results: Results, t: Language) -> dict[str, Any]:
    """What the page's tables hold, by name."""
    found = results.analysis
    internal = report_rows.figures(results, "internal", t)
    return {
        "internal": internal,
        "external": [] if found.external_seeds is None else report_rows.figures(results, "external", t),
        "undefined": {data: report_rows.undefined(results, data, t) for data in ("internal", "external")},
        "poster": report_rows.poster(results, internal, t),
        "best": found.seeds["best_epoch_accuracy"].mean(),
        "flow": report_view.flow(results.tables.flow, t),
        "operating": report_view.operating(results, t),
        "means": report_view.means(found.figures),
        "chosen": report_view.chosen(results),
        "floors": report_view.floors(results, t),
        "floors_missing": report_view.not_trained(found.floors),
        "leakage": report_rows.leakage(results, t),
        "subgroups": report_view.subgroups(found.subgroups, t),
        "errors": report_view.errors(results, t),
        "seeds": report_view.seeds(found.seeds, t),
        "flags": report_view.flags(results.config),
        "facts": report_view.facts(results, t),
    }
