"""How every benchmark prints: one table for people, one JSON object for programs. A figure is a ratio within one run."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """One measured quantity and the same of its peers; smaller is better."""

    value: float
    unit: str
    peers: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Best peer over ours; NaN without a peer."""
        return min(self.peers.values()) / self.value if self.peers else float("nan")


def show(figures: dict[str, Figure]) -> None:
    """Prints the figures; with `--json` among the arguments as one JSON object."""
    if "--json" in sys.argv[1:]:
        body = {
            name: {"value": f.value, "unit": f.unit, "peers": f.peers, "ratio": f.ratio if f.peers else None}
            for name, f in figures.items()
        }
        print(json.dumps({"figures": body}))
        return
    for name, figure in figures.items():
        print(f"{name}: {figure.value:.3g} {figure.unit}")
        for peer, value in figure.peers.items():
            print(f"    {peer}: {value:.3g} {figure.unit}  ({value / figure.value:.3g} x ours)")
