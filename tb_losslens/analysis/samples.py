"""What is known of single samples, for a report: never or twice seen, high for good, in each spike, by exposures and by gap.

This names samples and judges nothing: which of them are broken is for a reader to see, and the causes have their own tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tb_losslens.analysis.sample_counts import Found, never_seen, seen_twice
from tb_losslens.analysis.sample_losses import by_exposures, by_gap, stays_high
from tb_losslens.analysis.sample_spikes import with_spikes
from tb_losslens.analysis.sample_visits import Visits, count_of, visits
from tb_losslens.analysis.text import some
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Run

MOST = 1_000_000
"""Visits that are gone through; of a run with more nothing is said of single samples, as sorting them would take seconds."""


@dataclass(frozen=True)
class Samples:
    """The section on samples.

    Attributes:
        visits, distinct: how many there are, and of how many samples; 0 where ids are unknown.
        found: for each part (`never_seen`, `seen_twice`, `spikes`, `high`, `exposures`, `gap`) what was found, or None.
        text: a sentence for each part that was found.
        skipped: (part, why, how to record it) for each other one.
    """

    visits: int = 0
    distinct: int = 0
    found: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str, str], ...] = ()

    @property
    def striking(self) -> tuple[str, ...]:
        """The sentences that name a sample or a dependence, without those that say that there is none."""
        parts = [part for part, found in self.found.items() if found is not None]
        return tuple(said for part, said in zip(parts, self.text, strict=True) if _stands_out(self.found[part] or {}))

    @property
    def untold(self) -> tuple[str, ...]:
        """A sentence for each reason why something cannot be told, with the line of code that would help in backquotes."""
        by_reason: dict[tuple[str, str], list[str]] = {}
        for part, why, how in self.skipped:
            by_reason.setdefault((why, how), []).append(_ASKED[part])
        out = []
        for (why, how), parts in by_reason.items():
            remedy = f" (`{how}`)" if how else ""
            out.append(f"Left open, as {why}{remedy}: {some(parts, len(parts))}.")
        return tuple(out)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "visits": self.visits,
            "distinct": self.distinct,
            **{part: _finite(self.found.get(part)) for part in PARTS},
            "text": list(self.text),
            "skipped": [{"part": part, "why": why, "how": how} for part, why, how in self.skipped],
        }


PARTS: dict[str, Callable[[Run, Visits], Found]] = {
    "never_seen": never_seen,
    "seen_twice": seen_twice,
    "high": stays_high,
    "spikes": with_spikes,
    "exposures": by_exposures,
    "gap": by_gap,
}
_ASKED = {
    "never_seen": "which are never seen",
    "seen_twice": "which come twice",
    "high": "which stay high",
    "spikes": "which come with the spikes",
    "exposures": "loss by visits",
    "gap": "loss by the time since the last visit",
}
_OF_LOSSES = ("high", "exposures", "gap")


def samples(run: Run, *, most: int = MOST) -> Samples:
    """Everything that is known of single samples; a part that cannot be told is skipped, with the reason."""
    if not run.has("sample_ids"):
        return _none("sample ids were not recorded", how_to_record("sample_ids"))
    if count_of(run) > most:
        return _none(f"more than {most:,} visits of samples are not gone through", "")
    seen = visits(run)
    found: dict[str, dict[str, Any] | None] = {}
    text: list[str] = []
    skipped: list[tuple[str, str, str]] = []
    for part, ask in PARTS.items():
        if part in _OF_LOSSES and not run.has("per_sample"):
            skipped.append((part, "losses of single samples were not recorded", how_to_record("per_sample")))
            continue
        if part == "spikes" and not run.has("loss"):
            skipped.append((part, "the loss was not recorded", how_to_record("loss")))
            continue
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                found[part], said = ask(run, seen)
        except Exception as error:  # noqa: BLE001 - one part must not take the verdict along
            found[part], said = None, f"failed on this run: {type(error).__name__}: {error}"
        if found[part] is None:
            skipped.append((part, said, how_to_record("per_sample") if part in _OF_LOSSES else ""))
        else:
            text.append(said)
    return Samples(len(seen.ids), len(seen.names), found, tuple(text), tuple(skipped))


def _stands_out(found: dict[str, Any], *, level: float = 0.01) -> bool:
    """True if a part named samples, or a dependence that is hardly chance."""
    if "p" in found:
        return bool(found["p"] is not None and found["p"] < level)
    return bool(found["samples"] if "samples" in found else found.get("count"))


def _finite(value: Any) -> Any:
    """The same with None in the place of each number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _none(why: str, how: str) -> Samples:
    return Samples(skipped=tuple((part, why, how) for part in PARTS))
