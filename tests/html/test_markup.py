"""Text stays text, and what is built is well-formed."""

from xml.etree import ElementTree as ET

import pytest

from tb_losslens.html.markup import Markup, escape, prose, tag, together

NASTY = ["<script>alert(1)</script>", 'a"b\'c', "a & b", "]]>", "\x00\x1b[2J", "\ud800", "\ufffe", "ünï ☃ 😀", "--><!--"]


@pytest.mark.parametrize("text", NASTY)
def test_text_comes_back_as_it_was_and_never_as_markup(text: str) -> None:
    built = tag("p", text, title=text, class_=text)
    read = ET.fromstring(built)
    assert len(read) == 0
    shown = read.text or ""
    assert shown == read.get("title") == read.get("class")
    assert all(a == b or b == "\ufffd" for a, b in zip(text, shown, strict=True))
    built.encode()


def test_markup_is_put_in_as_it_is_and_nothing_else_is() -> None:
    assert tag("p", tag("b", "x"), "<i>", None, [Markup("<u/>"), ["&"]]) == "<p><b>x</b>&lt;i&gt;<u/>&amp;</p>"
    assert together("<", Markup("<")) == "&lt;<"


def test_attributes_lose_their_underscores_and_decimals() -> None:
    assert tag("line", x1=1 / 3, y1=2, stroke_width=1.0, class_="a b", open=None, hidden=False) == (
        '<line x1="0.33" y1="2" stroke-width="1" class="a b"></line>'
    )
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8"/>'


def test_backquotes_are_code_and_an_odd_one_stays() -> None:
    assert prose("call `f(<x>)` now") == "call <code>f(&lt;x&gt;)</code> now"
    assert prose("it`s <b>") == "it`s &lt;b&gt;"


def test_code_keeps_its_lines_and_names_do_not() -> None:
    assert escape("a\nb", lines=True) == "a\nb"
    assert escape("a\nb") == "a\ufffdb"
