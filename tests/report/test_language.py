"""The catalogue against every message of templates and code, and numbers as each language writes them."""

import ast
import inspect
import math
import re

import pytest

from cxrjax.analysis import run_figures
from cxrjax.base.tasks import TASKS
from cxrjax.metrics import bootstrap, registry
from cxrjax.report import page
from cxrjax.report.language import DASH, ENGLISH, Language, language, printable
from cxrjax.runs import summary
from tests.conftest import ROOT

SPANISH = language("es")
SOURCES = sorted((ROOT / "cxrjax").rglob("*.py"))
PAGES = ROOT / "cxrjax" / "report"
TEMPLATES = [PAGES / "report.html.jinja", *(PAGES / "report_parts").glob("*.jinja")]
CALLS = {"t": 1, "message": 1, "plural": 2}  # translator -> how many of its first arguments are messages


def messages_of_templates():
    for path in TEMPLATES:
        for _, _, found in page.environment(ENGLISH).extract_translations(path.read_text()):
            yield from (text for text in (found if isinstance(found, tuple) else (found,)) if text)


def messages_of_code():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                for argument in node.args[: CALLS.get(name, 0)]:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value


def messages_of_tasks():
    for task in TASKS.values():
        yield from (task.question, task.positive.title, task.negative.title)


def skeletons(tree):
    """Every text of a syntax tree, values of f-strings as \\0."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def skeleton(sentence):
    return re.sub(r"%\(\w+\)s", "\0", sentence).replace("%%", "%") if "%(" in sentence else sentence


def test_every_message_is_translated_and_none_is_left_over():
    wanted = {*messages_of_templates(), *messages_of_code(), *messages_of_tasks()}
    assert len(wanted) > 200
    assert set(SPANISH.messages) == wanted


def test_every_retold_sentence_is_one_of_the_code():
    known = {text for path in SOURCES for text in skeletons(ast.parse(path.read_text()))}
    assert not [text for text in SPANISH.retold if skeleton(text) not in known]


def test_every_reason_is_retold():
    reasons = set(registry._WORDS.values()) - {"no rule explains it"}
    for made in (bootstrap, run_figures._left_out, registry.undefined):
        tree = ast.parse(inspect.getsource(made))
        for node in ast.walk(tree):
            if isinstance(node, ast.Return) or (
                isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "skewed"
            ):
                reasons |= {text for text in skeletons(node) if " " in text.strip()}
    retold = {skeleton(text) for text in SPANISH.retold}
    assert len(reasons) > 15
    # Parts of an f-string are found once more on their own.
    assert not [why for why in reasons if not any(why in text for text in retold)]


def test_every_note_is_retold():
    appended = [
        node.args[0]
        for node in ast.walk(ast.parse(inspect.getsource(summary.notes)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "found.append"
    ]
    notes = [next(skeletons(node)) for node in appended]
    assert len(notes) > 4
    assert set(notes) <= {skeleton(text) for text in SPANISH.retold}


@pytest.mark.parametrize("catalogue", [SPANISH.messages, SPANISH.retold], ids=["messages", "retold"])
def test_translations_keep_values_tags_and_percent_signs(catalogue):
    for text, translated in catalogue.items():
        for pattern in (r"%\(\w+\)s", r"</?\w+>", r"%%"):
            assert sorted(re.findall(pattern, text)) == sorted(re.findall(pattern, translated)), text
        if "%(" in translated:
            translated % dict.fromkeys(re.findall(r"%\((\w+)\)s", translated), "")  # no stray percent sign
        assert text.strip() and translated[:1].isspace() == text[:1].isspace()


@pytest.mark.parametrize(
    ("value", "digits", "english", "spanish"),
    [
        (1234567.891, 2, "1,234,567.89", "1.234.567,89"),
        (-0.5, 1, "−0.5", "−0,5"),
        (-0.0004, 3, "0.000", "0,000"),  # 0 has no sign
        (math.nan, 3, DASH, DASH),
        (None, 3, DASH, DASH),
    ],
)
def test_numbers(value, digits, english, spanish):
    assert (ENGLISH.number(value, digits), SPANISH.number(value, digits)) == (english, spanish)


def test_shares_counts_and_signs():
    assert [SPANISH.share(0.4451), SPANISH.percent(0.4451), SPANISH.share(math.nan)] == ["44,5 %", "44,5", DASH]
    assert [SPANISH.count(1234), SPANISH.count(12.44), SPANISH.count(math.nan)] == ["1.234", "12,4", DASH]
    assert [ENGLISH.signed(x) for x in (0.1, -0.1, 0.0, 0.0001)] == ["+0.100", "−0.100", "0.000", "0.000"]


def test_plurals():
    assert [SPANISH.plural("%(n)s image", "%(n)s images", n) for n in (1, 2, 0, 1.5)] == [
        "1 imagen", "2 imágenes", "0 imágenes", "1,5 imágenes",
    ]  # fmt: skip


def test_sentences_are_retold_with_their_values():
    found = SPANISH.retell(
        "the figure is 0, 1 or undefined in 6 % of the draws; the figure is 0.98, at the end of its range"
    )
    assert (
        found
        == "la cifra es 0, 1 o indefinida en el 6 % de los remuestreos; la cifra es 0,98, en el extremo de su rango"
    )
    assert SPANISH.retell("not trained; --floors trains it") == "no entrenada; --floors la entrena"
    assert SPANISH.retell("a new sentence; no image") == "a new sentence; ninguna imagen"
    assert ENGLISH.retell("no image; a new sentence") == "no image; a new sentence"


def test_an_unknown_message_stays_as_it_is():
    assert Language("es", {}, {})("%(n)s images", n=3) == "3 images"


def test_unprintable_characters_are_replaced():
    assert printable("a\x00b\nc\ud800 ñ漢") == "a�b�c� ñ漢"
