"""What the user noted at a boundary. It says what happened there and proves nothing: it is named first, and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tb_losslens.analysis.changes import OBJECTS
from tb_losslens.analysis.finding import Boundary, Finding
from tb_losslens.analysis.text import plural, some
from tb_losslens.store.run import Run, RunEvent

MOST = 80
"""Characters of a note that are quoted."""


def notes_at(run: Run, boundaries: Sequence[Boundary], *, reach: int = 1) -> dict[int, str]:
    """The user's own notes within `reach` rows of each boundary, by its index; none that the recorder writes by itself."""
    notes = [event for event in run.events if _by_user(event)]
    if not notes:
        return {}
    out: dict[int, list[str]] = {}
    at = {b.batch + shift: b.index for shift in range(-reach, reach + 1) for b in boundaries}
    for event in notes:
        index = at.get(event.batch)
        text = " ".join(event.text.split())
        if index is not None and text not in out.get(index, []):
            out.setdefault(index, []).append(text)
    return {index: some([_quoted(text) for text in texts], 2) for index, texts in out.items()}


def _by_user(event: RunEvent) -> bool:
    if not event.text.strip() or event.fields.get("automatic") or event.fields.get("about"):
        return False
    if event.kind == "config_change":
        return not event.fields or bool(set(event.fields) - OBJECTS)
    return event.kind == "note"


def _quoted(text: str) -> str:
    return f'"{text if len(text) <= MOST else text[: MOST - 1].rstrip() + "…"}"'


def said_of(notes: Mapping[int, str], named: Sequence[int]) -> str:
    """One sentence on what was noted at most of the boundaries `named`; "" where that is at fewer than half of them.

    A note at one of many boundaries that all move alike is not what happened at them.
    """
    here = [index for index in named if index in notes]
    if not here or 2 * len(here) < len(named):
        return ""
    texts = list(dict.fromkeys(notes[index] for index in here))
    if len(texts) > 2:
        return f"Notes were left at {plural(len(here), 'boundary')}, the first: {texts[0]}."
    places = "there" if len(named) == 1 else f"at boundar{'y' if len(here) == 1 else 'ies'} {some([i + 1 for i in here])}"
    return f"Noted {places}: {some(texts)}."


def with_notes(findings: Sequence[Finding], notes: Mapping[int, str]) -> tuple[Finding, ...]:
    """The findings, with what was noted where they act at the end of their text."""
    out = []
    for finding in findings:
        tells = finding.explains_jump or finding.kind == "unknown"
        at = finding.boundaries
        said = said_of(notes, at) if tells and at and finding.kind != "benign" else ""
        if said and len(at) == 1:
            said = said.replace("Noted there", f"Noted at boundary {at[0] + 1}", 1)
        out.append(replace(finding, text=f"{finding.text} {said}") if said else finding)
    return tuple(out)
