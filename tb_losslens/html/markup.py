"""Builds HTML and SVG that is well-formed and whose text cannot become markup, whatever a run is called."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from tb_losslens.analysis.text import visible

_NOT_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
_ALONE = frozenset({"meta", "br", "hr", "img"})
"""Elements without an end in HTML; SVG's are closed in full, which both HTML and XML read."""


class Markup(str):
    """Text that is markup already; any other string is escaped where it is put into an element."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def escape(text: object, *, lines: bool = False) -> Markup:
    """Text as it is read, with markup, control characters and what XML forbids made harmless; `lines` keeps line breaks."""
    return Markup(html.escape(_NOT_XML.sub("\ufffd", visible(str(text), lines=lines)), quote=True))


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """One element.

    Args:
        name: as `div`.
        children: strings, which are escaped, markup, None, or lists of these.
        attributes: `class_` is written as `class`, `stroke_width` as `stroke-width`; None and False leave one out. Numbers are
            written with at most two decimals.
    """
    head = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _ALONE:
        return Markup(f"<{name}{head}/>")
    return Markup(f"<{name}{head}>{together(*children)}</{name}>")


def together(*children: Child) -> Markup:
    """The children one after the other."""
    return Markup("".join(_pieces(children)))


def prose(text: str) -> Markup:
    """A sentence whose parts in backquotes are code; an odd backquote stays as it is."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return together([tag("code", part) if at % 2 else part for at, part in enumerate(parts)])


def _pieces(children: Iterable[Child]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Markup):
            yield child
        elif isinstance(child, str):
            yield escape(child)
        else:
            yield from _pieces(child)


def _value(value: object) -> str:
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(value)
