"""How large a jump must be to be found: `python -m benchmarks.power [--runs 200] [--json] [--write]`.

Trainings of the process itself (tests/analysis/processes.py) get a jump up at each boundary, which fades within a tenth of an
epoch. Its size counts standard deviations of single batches. Printed is the share of the trainings in which all boundaries
together are called a jump up; `--write` puts it into docs/power.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tb_losslens.analysis.jump import measure
from tb_losslens.store.run import Run
from tests.analysis.processes import fresh_samples, jumping

SIZES = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
BOUNDARIES = (2, 4, 8, 16, 32, 64)
LENGTH = 50
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "power.md"


def share_found(size: float, boundaries: int, *, runs: int, seed: int = 1) -> float:
    """Share of `runs` trainings with so many boundaries in which a jump of this size is found."""
    losses = jumping(fresh_samples(runs, boundaries + 1, LENGTH, seed=seed), LENGTH, size)
    found = [measure(Run.from_arrays(loss=loss, epoch_length=LENGTH))[1].direction > 0 for loss in losses]
    return sum(found) / runs


def table(runs: int) -> dict[float, dict[int, float]]:
    """The share by size and number of boundaries."""
    return {size: {count: share_found(size, count, runs=runs) for count in BOUNDARIES} for size in SIZES}


def in_markdown(shares: dict[float, dict[int, float]], runs: int) -> str:
    """The document."""
    rows = [f"| {size:g} | {' | '.join(f'{share:.0%}' for share in row.values())} |" for size, row in shares.items()]
    return "\n".join(
        [
            "# How large a jump must be to be found",
            "",
            f"The share of {runs} trainings in which all boundaries together are called a jump up, by the size of the jump at",
            "each boundary (in standard deviations of the loss of single batches) and the number of boundaries. The trainings",
            f"are logistic regressions by SGD on samples drawn anew for each batch, {LENGTH} batches an epoch; the jump",
            "fades within a tenth of an epoch. The first row has no jump: what is found there is a false alarm. Written by",
            "`python -m benchmarks.power --write`.",
            "",
            f"| size | {' | '.join(f'{count} boundaries' for count in BOUNDARIES)} |",
            f"|---|{'---|' * len(BOUNDARIES)}",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Measures, and prints or writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    shares = table(args.runs)
    if args.write:
        DOCUMENT.write_text(in_markdown(shares, args.runs))
    if args.json:
        named = {f"found_{size:g}_sd_at_{n}": share for size, row in shares.items() for n, share in row.items()}
        figures = {name: {"value": share, "unit": "of the runs", "peers": {}, "ratio": None} for name, share in named.items()}
        print(json.dumps({"figures": figures}))
    else:
        print(in_markdown(shares, args.runs))


if __name__ == "__main__":
    main()
