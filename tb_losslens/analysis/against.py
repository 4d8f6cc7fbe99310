"""What the boundaries themselves say against a finding: jumps without it, none where it is, and a part that is left over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tb_losslens.analysis.explain import beyond_band, excess, typical_excess
from tb_losslens.analysis.finding import Boundary, Evidence, Finding
from tb_losslens.analysis.text import number, percent, plural, signed, some


def with_against(findings: Sequence[Finding], boundaries: Sequence[Boundary]) -> tuple[Finding, ...]:
    """The findings, those that explain jumps with what the boundaries say against it; `boundaries` know their best cause.

    Only where the finding itself knows nothing that speaks against it, or what is said twice would seem to weigh twice.
    """
    return tuple(replace(f, against=_against(f, boundaries)) if _explains(f) and not f.against else f for f in findings)


def _explains(finding: Finding) -> bool:
    return finding.explains_jump and finding.kind != "unknown" and bool(finding.boundaries)


def _against(finding: Finding, boundaries: Sequence[Boundary], *, whole: float = 0.95) -> tuple[Evidence, ...]:
    named = [b for b in boundaries if b.index in finding.boundaries and math.isfinite(b.z)]
    others = [b for b in boundaries if b.index not in finding.boundaries and b.significant and b.cause != finding.cause]
    out = []
    quiet = len(named) - len(beyond_band(named))
    if quiet:
        of = f"{quiet:,} of these {plural(len(named), 'boundary')}"
        which = "the jump" if len(named) == 1 else f"one by one, the jump at {of}"
        out.append(Evidence(f"{which} lies where {percent(0.95)} of cuts inside the same epochs do", "loss"))
    way = typical_excess(named)
    same = [b for b in others if excess(b) * way > 0]
    if same:
        where = some([f"{b.index + 1} ({signed(b.jump)})" for b in same], 4)
        known = {b.cause for b in same}
        only = known.pop() if len(known) == 1 else None
        why = f", and which is `{only}`" if only else ""
        name = "boundary" if len(same) == 1 else "boundaries"
        out.append(Evidence(f"the loss jumps the same way at {name} {where}, where this is not{why}", "loss"))
    if finding.share is not None and finding.share < whole:
        left = f"{percent(1 - finding.share)} of the jump is left over"
        middle = f", of {number(abs(way))} in the middle" if math.isfinite(way) and len(named) > 1 else ""
        out.append(Evidence(f"{left}{middle}", "loss"))
    return tuple(out)
