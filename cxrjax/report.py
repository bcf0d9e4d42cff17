"""Results -> files: tables, figures, one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from cxrjax import files, page, report_rows, report_view, run_files, summary
from cxrjax.figures import drawing, style
from cxrjax.figures.style import Drawn
from cxrjax.language import Language, language
from cxrjax.types import Results
from cxrjax.verdict import verdict

_SCRIPT = Path(__file__).parent / "report_parts" / "threshold.js"


def write(folder: Path, results: Results) -> None:
    """Writes every file of a run; summary.json comes last, its presence says that the run is finished."""
    run_files.write(folder, results.tables, results.analysis)
    t = language(results.config.lang)
    drawn = {name: style.save(name, picture) for name, picture in drawing.draw(results, t).items()}
    (folder / "figures").mkdir(exist_ok=True)
    for name, one in drawn.items():
        files.write_bytes(folder / "figures" / f"{name}.png", one.png)
        files.write_text(folder / "figures" / f"{name}.svg", one.svg)
    files.write_json(folder / "environment.json", results.environment)
    files.write_bytes(folder / "learning_curve.png", drawn["learning_curve"].png)
    files.write_bytes(folder / "dream.png", page.png(results.dream))
    files.write_text(folder / "report.html", html(results, drawn, t))
    files.write_json(folder / "summary.json", results.summary)


def html(results: Results, drawn: Mapping[str, Drawn], t: Language) -> str:
    """The report as one HTML page with its pictures, style and script inside; it fetches nothing.

    A policy in its head lets browsers run this script alone, whatever names and labels may hold.

    Args:
      results: of the run.
      drawn: its figures by name, see `drawing.draw`; the page does without those that are absent.
      t: of its words.
    """
    script = _SCRIPT.read_text(encoding="utf-8")
    internal = report_rows.figures(results, "internal", t)
    external = results.analysis.external_seeds is not None
    return page.render(
        "report.html.jinja",
        language=t,
        title=summary.title(results.config.name),
        question=report_view.question(results.config, t),
        verdict=verdict(results, t),
        results=results,
        config=results.config,
        summary=results.summary,
        notes=[t.retell(note) for note in results.summary["notes"]],
        bad_images=results.summary["data"]["bad_images"],
        half=t.number(0.5, 1),
        drawn=drawn,
        internal=internal,
        external=report_rows.figures(results, "external", t) if external else [],
        undefined=report_rows.undefined(results, "internal", t),
        undefined_external=report_rows.undefined(results, "external", t),
        poster=report_rows.poster(results, internal, t),
        flow=report_view.flow(results.tables.flow, t),
        floors=report_view.floors(results, t),
        floors_missing=report_view.not_trained(results.analysis.floors),
        leakage=report_rows.leakage(results, t),
        subgroups=report_view.subgroups(results.analysis.subgroups, t),
        errors=report_view.errors(results, t),
        seeds=report_view.seeds(results.analysis.seeds, t),
        operating=report_view.operating(results, t),
        means=report_view.means(results.analysis.figures),
        chosen=report_view.chosen(results),
        flags=report_view.flags(results.config),
        facts=report_view.facts(results, t),
        command=report_view.command(results.config),
        dream=page.inline(page.png(results.dream)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
