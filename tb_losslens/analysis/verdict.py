"""The answer in words: what the loss does at its boundaries, with numbers, and why."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tb_losslens.analysis.explain import beyond_band, not_clear
from tb_losslens.analysis.finding import Boundary, Finding, Kind, Pooled
from tb_losslens.analysis.noted import said_of
from tb_losslens.analysis.text import lower_first, number, p_value, percent, plural, sentences, signed, some
from tb_losslens.analysis.unchanged import Unchanged

KINDS: dict[str, str] = {
    "artifact": "Artifact",
    "benign": "Expected",
    "planned": "Planned",
    "fault": "Fault",
    "unknown": "Unknown",
}


@dataclass(frozen=True)
class Words:
    """The parts of a verdict, as `Diagnosis` has them."""

    headline: str
    subline: str
    aside: str
    short: str
    kind: Kind

    @property
    def verdict(self) -> str:
        """Headline, aside and subline in one line."""
        head = f"{self.headline} {self.aside}" if self.aside else self.headline
        return sentences([head, self.subline])


def nothing_learned(still: Unchanged, words: Words) -> Words:
    """The verdict of a run whose weights do not change: that comes first, whatever else was found."""
    other = words.headline if words.subline.startswith(words.headline) else f"{words.headline}. {words.subline}"
    found = other if words.kind in ("fault", "artifact", "planned") else words.headline
    return Words(still.headline, sentences([still.why, still.advice, found]), "", still.short, "fault")


def in_words(
    pooled: Pooled,
    boundaries: Sequence[Boundary],
    findings: Sequence[Finding],
    batches: int,
    *,
    notes: Mapping[int, str] | None = None,
    inside: str = "",
) -> Words:
    """The verdict of a run; `findings` are ranked, `boundaries` marked, `notes` what the user noted at some of them.

    `inside` is what is said of a run without boundaries in which nothing was found.

    The first finding gives the kind. It gives the second sentence too, or its own headline where it acts inside an epoch or
    the loss stops being finite.
    """
    best = findings[0] if findings else None
    kind: Kind = best.kind if best else "unknown" if pooled.reason else "benign"
    named = {b.index for b in boundaries if b.cause == best.cause} if best and best.explains_jump else set()
    named &= {b.index for b in beyond_band(boundaries)}  # elsewhere the loss follows more slowly than by a jump
    alone = [b for b in boundaries if b.significant or b.index in named]
    headline, aside, short = _what(pooled, alone, batches, unsure=bool(not_clear(boundaries)))
    moved = bool(pooled.direction) or bool(alone)
    if best is None or best.cause == "batch_noise":
        second = next((f for f in findings if f.cause != "batch_noise" and not f.explains_jump), None)
        also = f"Beside it: {lower_first(second.title)} ({second.strength})" if second is not None and best else ""
        said = pooled.reason or (best.text if best else "")
        return Words(headline, sentences([said, also, inside if best is None else ""]), aside, short, kind)
    if moved and best.detail == "nonfinite":
        # the training ends there, whatever its boundaries did before
        return Words(best.title, sentences([_why(best), headline]), "", lower_first(best.title), kind)
    if best.detail == "too_few":
        told = "too few boundaries to tell" if best.title.startswith("Too few") else lower_first(best.title)
        return Words(best.title, best.text, "", told, kind)
    if not moved and best.kind != "benign":
        # nothing happens at the boundaries: what was found is the news
        if best.cause in ("running_mean", "smoothed_metric") and best.strength == "proved":
            headline = f"The batch loss, recorded beside it: {lower_first(headline)}"
        mixed = all(finding.cause != "incomplete_shuffle" for finding in findings)
        quiet = pooled.reason or (f"{headline}." if mixed else _as_inside(pooled))
        said = sentences([_why(best), _order_too(best, findings), quiet])
        return Words(best.title, said, "", lower_first(best.title), kind)
    there = [b.index for b in alone] if not pooled.direction else list(best.boundaries) if best.explains_jump else []
    noted = said_of(notes or {}, there) if moved else ""
    parts = [_why(best)]
    if best.kind == "unknown":
        parts = [f"Unknown: {lower_first(best.text)}"]
    elif not best.explains_jump and moved:
        parts.append(_order_too(best, findings))
        parts.append(_not_explained(best, pooled, alone))
        other = next((f for f in findings if f.explains_jump), None)
        if other is not None:
            parts.append(_why(other))
    elif best.explains_jump and best.share is not None and moved:
        parts.append(f"It accounts for {percent(best.share)} of the jump")
    beside = next((f for f in findings[1:] if _stands_beside(f)), None)
    if beside is not None and best.explains_jump:
        parts.append(f"Beside it: {lower_first(beside.title)} ({beside.strength})")
    return Words(headline, sentences([noted, *parts]), aside, short if moved else lower_first(best.title), kind)


def _stands_beside(finding: Finding) -> bool:
    """True for what has nothing to do with the jumps and is not to be overlooked: faults, and a held-out loss that spikes."""
    return not finding.explains_jump and (finding.kind == "fault" or finding.cause == "validation_spike")


def _order_too(best: Finding, findings: Sequence[Finding]) -> str:
    """Of unmixed samples that explain no jump: that they come in the same order each epoch, which is one fault with it."""
    again = next((f for f in findings if f.cause == "repeated_order" and not f.explains_jump), None)
    if again is None or best.cause != "incomplete_shuffle" or best.explains_jump:
        return ""
    return f"And, {again.strength}: {lower_first(again.text.split('. ')[0])}"


def _not_explained(best: Finding, pooled: Pooled, alone: Sequence[Boundary]) -> str:
    """A mode that changes at a boundary which moves with all others may have a part in it; nothing separates the two."""
    if best.cause == "wrong_mode" and best.boundaries and (pooled.direction or {b.index for b in alone} & set(best.boundaries)):
        return "Whether it has a part in the jump cannot be told"
    return "It does not explain the jump"


def _as_inside(pooled: Pooled) -> str:
    """Of unmixed samples: the loss jumps inside the epochs as well, which is no noise."""
    return f"The jumps at {plural(pooled.total, 'boundary')} are no larger than those inside the epochs."


def _why(finding: Finding) -> str:
    """Kind, strength and the first sentence of a finding."""
    first = finding.text.split(". ")[0].rstrip(".")
    if finding.kind == "unknown":
        return f"Unknown: {lower_first(first)}"
    return f"{KINDS[finding.kind]}, {finding.strength}: {lower_first(first)}"


def _what(pooled: Pooled, alone: Sequence[Boundary], batches: int, *, unsure: bool) -> tuple[str, str, str]:
    """Headline, aside and a few words for the run list; `alone` are the boundaries that move by themselves.

    `unsure` if others lie too far out to be called noise.
    """
    if pooled.reason:
        return ("No batch recorded" if batches == 0 else "No verdict on epoch boundaries"), "", "no verdict"
    if pooled.direction:
        up = pooled.direction > 0
        count = pooled.up if up else pooled.down
        way = "up" if up else "down"
        verb = "jumps up" if up else "drops"
        headline = f"Loss {verb} at {count:,} of {plural(pooled.total, 'epoch boundary')}, median {signed(pooled.median)}"
        return headline, _aside(abs(pooled.z), pooled.p, alone), f"jumps {way} {count:,} of {pooled.total:,}"
    if alone:
        most = max(alone, key=lambda b: abs(b.z))
        if len(alone) == 1:
            verb = "jumps up" if most.jump > 0 else "drops"
            headline = f"Loss {verb} at boundary {most.index + 1} of {pooled.total:,}, by {signed(most.jump)}"
            return headline, _aside(abs(most.z), 1.0, [most]), f"{verb} at boundary {most.index + 1}"
        places = some([b.index + 1 for b in alone])
        largest = signed(max((b.jump for b in alone), key=abs))
        headline = f"Loss jumps at {len(alone):,} of {plural(pooled.total, 'epoch boundary')} ({places}), by up to {largest}"
        return headline, _aside(abs(most.z), 1.0, alone, upto=True), f"jumps at {len(alone):,} of {pooled.total:,}"
    clearly = "clearly " if unsure else ""
    return f"No jump {clearly}beyond noise at {plural(pooled.total, 'boundary')}", "", f"nothing {clearly}beyond noise"


def _aside(z: float, p: float, moved: Sequence[Boundary], *, upto: bool = False) -> str:
    """The size in noises, p where it is small, and how long the jump lasts where most of those that moved recover."""
    parts = []
    if math.isfinite(z) and z >= 0.1:
        parts.append(f"{'up to ' if upto else ''}{number(z, 2)}× the noise")
    if p < 0.05:
        parts.append(p_value(p))
    back = [b.recovery for b in moved if b.recovery is not None]
    if moved and 2 * len(back) > len(moved):
        parts.append(f"back after {plural(round(statistics.median(back)), 'batch')}")
    return f"({', '.join(parts)})" if parts else ""
