"""What is inserted must look as it is, wherever it stands; markdown-it, another's reader of Markdown, is the judge."""

import doctest
import html
import random
import re

import pytest
from markdown_it import MarkdownIt

from cxrjax.report import pages

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])  # lets HTML through, as commonmark says
HOSTILE = [
    "a|b", "|", "\\|", "\\", "\\\\|x", "`", "``x`", "<script>alert(1)</script>", "<b", "&lt;b&gt;", "&amp;",
    "a\nb", "a\r\n\n# b",
    "# no heading", "- no list", "+ none", "* none", "1. none", " 12) none", "1.", "---", "===", "> no quote",
    "    no code",
    "_a_ __b__ a_b", "*a* **b**", "~~a~~", "[a](javascript:alert(1))", "![a](http://x/y.png)", "[a]: http://x", "<http://x>",
    "a\tb\x0bc\u2028d", "A person | must fill in", "{{ x }} {% y %}", "$x$", "x^2", "Ñandú 肺", 
    "-0.05", "0.5", "12", "", "a  b ",
]  # fmt: skip
PLACES = ["| {} | x |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| {} | x |", "{}", "text {} text", "- {}", "# {}"]


def shown(source: str) -> str:
    """The text that a reader sees, without what the places add."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", READER.render(source))).split())


def expected(text: str) -> str:
    return " ".join(text.split())


def test_no_text_makes_anything_but_text():
    """Whatever is inserted, the page has the elements that it has with a word there."""
    letters, rng = "ab1 \n|\\`*_{}[]()#+-.!~<>&=:/\"'$^@%", random.Random(0)
    texts = HOSTILE + ["".join(rng.choices(letters, k=rng.randint(1, 14))) for _ in range(400)]
    for place in PLACES:
        elements = re.findall(r"<[^>]*>", READER.render(place.format("word")))
        for text in filter(str.strip, texts):
            for made in (pages.escape(text), pages.code(text)):
                found = re.findall(r"<[^>]*>", READER.render(place.format(made)))
                assert [e for e in found if e not in ("<code>", "</code>")] == elements, (place, text)
                assert shown(place.format(made)) == expected(shown(place).replace("{}", expected(text))), (place, text)


@pytest.mark.parametrize("text", ["x\u202egnp.exe", "a\x00b", "caf\udce9", "a\x1b[31mb"])
def test_what_has_no_picture_is_named(text):
    made = pages.escape(text) + pages.code(text) + pages.block(text)
    assert all(c.isprintable() for c in made)
    made.encode()
    assert re.search(r"\\u(202e|0000|dce9|001b)", made)


def test_code_is_code_where_it_can_be():
    assert READER.render(pages.code("a_b*<c>&")) == "<p><code>a_b*&lt;c&gt;&amp;</code></p>\n"


@pytest.mark.parametrize("text", ["a\n\nb", "```\n<b>", "~~~\n# x\n- y", "--x='a\n\n\n|'", "   a"])
def test_a_block_ends_where_it_should(text):
    page = READER.render(f"before\n\n{pages.block(text)}\n\nafter")
    assert page == f"<p>before</p>\n<pre><code>{html.escape(text, quote=False)}\n</code></pre>\n<p>after</p>\n"


def test_doctests():
    assert doctest.testmod(pages) == (0, 1)
