"""Texts as a file can hold them."""

from __future__ import annotations


def writable(text: str) -> str:
    """A text with ? for what UTF-8 cannot hold: a path that is not UTF-8 has half characters in it as Python reads it."""
    return text.encode("utf-8", "replace").decode()
