"""Results -> files: tables, figures, one self-contained HTML page, a model card and a checklist."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxrjax.analysis import tables
from cxrjax.analysis.tables import FindingsResults, Results
from cxrjax.base import files, progress, tasks
from cxrjax.report import cards, figures, pages, sections
from cxrjax.report.figures import Drawn
from cxrjax.report.language import Language, language, note
from cxrjax.report.sections import findings, verdict

_SCRIPT = Path(__file__).parent / "templates" / "threshold.js"


def write(folder: Path, results: Results | FindingsResults) -> None:
    """Writes every file of a run; summary.json comes last, its presence says that the run is finished.

    Of many labels those of the whole; `run_folder.write_finding` writes each finding's.
    """
    if isinstance(results, FindingsResults):
        for name, table in (("findings", results.table), ("flow", results.flow)):
            files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.7g"))
    else:
        tables.write(folder, results.tables, results.analysis)
        files.write_bytes(folder / "dream.png", pages.png(results.dream))
    files.write_json(folder / "environment.json", results.environment)
    write_pages(folder, results)
    files.write_json(folder / "summary.json", results.summary)


def write_pages(folder: Path, results: Results | FindingsResults) -> None:
    """Writes what people read: figures, the report, the model card and the CLAIM checklist."""
    t = language(results.config.lang)
    pictures, drawn = sections.draw_all(results, t), {}
    with progress.stage("report", len(pictures), "figures") as bar:
        for name, picture in pictures.items():
            drawn[name] = figures.save(name, picture)
            bar.advance()
    (folder / "figures").mkdir(exist_ok=True)
    for name, figure in drawn.items():
        files.write_bytes(folder / "figures" / f"{name}.png", figure.png)
        files.write_text(folder / "figures" / f"{name}.svg", figure.svg)
    if "learning_curve" in drawn:  # a probe has none
        files.write_bytes(folder / "learning_curve.png", drawn["learning_curve"].png)
    files.write_text(folder / "report.html", html(results, drawn, t))
    files.write_text(folder / "model_card.md", cards.model_card(results))
    files.write_text(folder / "claim_2024.md", cards.claim(results))


def html(results: Results | FindingsResults, drawn: Mapping[str, Drawn], t: Language) -> str:
    """The report as one HTML page with its pictures, style and script inside; it fetches nothing.

    A policy in its head lets browsers run this script alone, whatever names and labels may hold.

    Args:
      results: Results of one run, or of one of its findings.
      drawn: Its figures by name, see `sections.draw_all`; the page does without those that are absent.
      t: Language of its words.
    """
    task, script, whole = results.task, "", None
    if isinstance(results, FindingsResults):
        why = findings.verdict(results, t)
    else:
        why, script = verdict.verdict(results, t), _SCRIPT.read_text(encoding="utf-8")
        whole = tasks.get(results.config.task) if results.config.finding else None
    common = {
        "results": results,
        "config": results.config,
        "task": task,
        "positive": t(task.positive.title),
        "half": t.number(0.5, 1),
        "drawn": drawn,
    }
    page = {
        **common,
        "title": task.title,
        "question": t(task.question, positive=t(task.positive.title), negative=t(task.negative.title)),
        "network": results.environment["network"],
        "weights": results.environment["weights"],
        "subject": task.title if task.is_multilabel else common["positive"],
        "whole": whole,  # of which these results are one finding
        "answer": answer(results, t),
        "verdict": why,
        "notes": [note(text, t) for text in results.summary["notes"]],
        "sections": _sections(results, common, t),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return str(pages.html("report.html.jinja", t, page))


def answer(results: Results | FindingsResults, t: Language) -> str:
    """The task's question answered in one plain sentence."""
    return findings.answer(results, t) if isinstance(results, FindingsResults) else verdict.answer(results, t)


def _sections(results: Results | FindingsResults, common: Mapping[str, Any], t: Language) -> list[dict[str, str]]:
    """Key, title and body (HTML) of each section that has something to say."""
    shown = []
    for section in sections.of(results):
        values = section.context(results, t)
        if values is not None:
            title = t(section.title)
            body = pages.html(section.template or f"{section.key}.html.jinja", t, {**common, "title": title, **values})
            shown.append({"key": section.key, "title": title, "body": body})
    return shown
