"""What a finished run says on the terminal: its numbers are those of the summary, its sentence the report's first."""

import pytest

from cxrjax.base.config import ExperimentConfig
from cxrjax.report import terminal
from cxrjax.report.language import ENGLISH
from cxrjax.report.sections import verdict
from cxrjax.runs import results as run_results
from tests.report import findings_case, made_results


def summary_of(results):
    return run_results.summarise(results.config, results.summary["data"], results.analysis, 12.0)


@pytest.fixture(scope="module")
def results():
    return made_results.results()


def test_the_network_beside_the_poster_and_what_it_must_beat(results):
    summary = summary_of(results)
    shown = terminal.result(summary)
    rows = {row[0]: row[1:] for row in shown.rows}
    inside, film = summary["internal"], summary["floors"]["film"]
    assert shown.title == "P vs NF, 4 seeds, 12 min"
    assert rows["this network"] == (
        f"{100 * inside['accuracy']['mean']:.1f} ± {100 * inside['accuracy']['sd']:.1f}",
        f"{100 * inside['fp_share']['mean']:.1f}",
        f"{100 * inside['fn_share']['mean']:.1f}",
        f"{inside['auroc']['mean']:.3f} ± {inside['auroc']['sd']:.3f}",
        "",
    )
    assert rows["poster"] == ("83 ± 7", "7", "9", "–", "")
    difference, low, high = (film[f"auroc_difference{end}"] for end in ("", "_low", "_high"))
    assert rows["view, sex, age"][-1] == f"{difference:+.2f} ({low:+.2f} to {high:+.2f})"
    assert {"majority class", "all metadata", "shuffled labels", "random trunk", "external set"} <= set(rows)
    assert all(len(row) == len(shown.columns) for row in shown.rows)


def test_floors_that_are_not_there_have_no_row_and_a_single_seed_no_spread():
    alone = made_results.results(alone=True, seeds=1)
    rows = {row[0]: row[1:] for row in terminal.result(summary_of(alone)).rows}
    assert "shuffled labels" not in rows and "±" not in "".join(rows["this network"])


def test_many_findings_have_their_mean_beside_the_published_ones():
    shown = terminal.result(findings_case.results().summary)
    assert shown.columns == ("", "mean AUROC", "split")
    assert shown.rows[0][0].startswith("this network, 2 of 3 findings") and shown.rows[1][0] == "CheXNet"
    assert shown.rows[1][1] == f"{(0.768 + 0.7345) / 2:.3f}"
    assert terminal.answer(findings_case.results()) == ""


def test_the_answer_is_that_of_the_report_with_its_first_reason(results):
    answer, sentence = terminal.answer(results).splitlines()
    assert answer == verdict.answer(results, ENGLISH)
    assert verdict.verdict(results, ENGLISH).startswith(sentence) and "AUROC 0." in sentence and sentence.endswith(".")
    assert len(sentence) < len(verdict.verdict(results, ENGLISH))


@pytest.mark.parametrize(
    ("task", "data_dir", "commands"),
    [
        ("p_vs_nf", None, ["describe --data_dir=FOLDER", "p_vs_nf --data_dir=FOLDER"]),
        ("p_vs_nf", "NIH", ["where_it_looks --run='o u'", "predict --run='o u' IMAGES"]),
        ("chestxray14", "NIH", ["where_it_looks --run='o u/findings/FINDING'", "predict --run='o u' IMAGES"]),
    ],
)
def test_a_run_ends_with_what_to_open_and_two_commands(task, data_dir, commands, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    first, _, _, *rest = terminal.last_words(ExperimentConfig(task, task, out="o u", data_dir=data_dir)).splitlines()
    assert first == "report: o u/report.html"
    assert len(rest) == 2 and all(f"  cxrjax {words}" in line for words, line in zip(commands, rest, strict=True))
