"""The catalogue against every message of templates and code, and numbers as each language writes them."""

import ast
import math
import re

import pytest

from cxrjax.base import codes
from cxrjax.base.tasks import TASKS, pair
from cxrjax.metrics.registry import METRICS
from cxrjax.report import pages
from cxrjax.report.language import DASH, ENGLISH, Language, each_reason, language, note, printable, reasons
from tests.conftest import ROOT

SPANISH = language("es")
REPORT = ROOT / "cxrjax" / "report"
TEMPLATES = [REPORT / "templates" / f"{name}.html.jinja" for name in ("report", "macros", "comparison")]
TEMPLATES += sorted((REPORT / "sections").glob("*.jinja"))
# Call -> which of its arguments are messages.
CALLS = {"t": slice(0, 1), "plural": slice(0, 2), "Section": slice(1, 2)}


def messages_of_templates():
    for path in TEMPLATES:
        for _, _, found in pages.html_templates(ENGLISH).extract_translations(path.read_text()):
            yield from (text for text in (found if isinstance(found, tuple) else (found,)) if text)


def messages_of_code():
    for path in REPORT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                for argument in node.args[CALLS.get(name, slice(0))]:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield argument.value


def messages_of_records():
    registered = [question for task in TASKS.values() for question in (task, *task.parts)]
    for task in [*registered, *(pair("Effusion", negative) for negative in ("No Finding", "Mass"))]:
        yield from (task.question, task.positive.title, task.negative.title)
        yield from (source.split for source in task.published_aurocs)
    for metric in METRICS.values():
        yield from (metric.label, metric.short)


def test_every_message_is_translated_and_none_is_left_over():
    wanted = {*messages_of_templates(), *messages_of_code(), *messages_of_records()} | {
        "%(first)s and %(last)s",
        "%(low)s to %(high)s",
    }
    assert len(wanted) > 200
    assert {key for key in SPANISH.messages if not re.match(r"[a-z_]+:\S", key)} == wanted


def test_words_of_codes_are_in_both_catalogues():
    spanish = {key for key in SPANISH.messages if re.match(r"[a-z_]+:\S", key)}
    assert set(ENGLISH.messages) == spanish
    assert {key.removeprefix("code:") for key in spanish if key.startswith("code:")} == set(codes.CODES)


@pytest.mark.parametrize("t", [ENGLISH, SPANISH], ids=["en", "es"])
def test_every_code_takes_its_values(t):
    numbers = {"share": 0.06, "value": 0.98, "needed": 66.1, "free": 50.4}
    for name, keys in codes.CODES.items():
        text = codes.code(name, **{key: numbers.get(key, f"<{key}>") for key in keys})
        (sentence,) = each_reason(text, t)
        assert sentence != name and "%(" not in sentence
        assert all(f"<{key}>" in sentence for key in keys if key not in numbers), sentence


def test_translations_keep_values_tags_and_percent_signs():
    for key, translated in SPANISH.messages.items():
        text = ENGLISH.messages.get(key, key)
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
        (5.7499997, 1, "5.8", "5,8"),  # 5.75 as a mean in float32
        (5.75, 1, "5.8", "5,8"),
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


def test_codes_become_sentences_with_their_values():
    text = codes.join([codes.code("extreme_in_draws", share=0.06), codes.code("end_of_range", value=0.98)])
    assert reasons(text, SPANISH) == (
        "la cifra es 0, 1 o indefinida en el 6 % de los remuestreos; la cifra es 0,98, en el extremo de su rango"
    )
    assert reasons(codes.tag(text, metric="auroc"), ENGLISH).startswith("AUROC: the figure is 0, 1 or undefined")
    assert reasons("metadata used=view,age", SPANISH) == "proyección, edad"
    assert reasons("", ENGLISH) == ""


def test_a_sentence_stays_english_and_is_marked_in_another_language():
    assert note("no code <b>", SPANISH) == {"text": "no code <b>", "english": True}
    assert note("no code <b>", ENGLISH) == {"text": "no code <b>", "english": False}
    assert not note("phantom", SPANISH)["english"]
    assert reasons("a new sentence; no_image", ENGLISH) == "a new sentence; no_image"


def test_an_unknown_message_stays_as_it_is():
    assert Language("es", {})("%(n)s images", n=3) == "3 images"


def test_unprintable_characters_are_replaced():
    assert printable("a\x00b\nc\ud800 ñ漢") == "a�b�c� ñ漢"
