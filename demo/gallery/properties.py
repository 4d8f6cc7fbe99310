"""What must hold of the diagnosis of any recording: `python -m demo.gallery.properties --out demo/gallery_runs`.

Of each recording of a gallery (`python -m demo.gallery` makes one) every part is left out in turn: columns, lists, kinds of
events, facts. No fault may then be found that was not there before, and none more surely. `--parts N` asks for N parts of each
recording only, others in each recording. Printed is each exception and how many there are.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from tb_losslens import diagnose, load_runs
from tb_losslens.analysis.finding import Diagnosis, Finding
from tb_losslens.store.run import Run

_STRENGTH = {"proved": 2, "likely": 1, "possible": 0}
LESS_EXACT = {
    "running_mean": ("smoothed_metric",),  # where no epochs are known, a mean since their begin is a mean
    "bad_batch": ("target_shift",),  # without sample ids, other targets in some batches are other targets in that epoch
    "weights_swapped": ("resume_discontinuity",),  # weights that changed between two steps
    "plateau_scheduler": ("lr_too_low",),  # without its settings, all that is seen is an LR that is gone too soon
    "bad_init": ("lr_too_high", "exploding_gradients"),  # the first updates are too large, for the one reason or the other
}
"""By cause, what is true of the same recording and says less: the cause that may take its place."""


def parts(run: Run) -> list[str]:
    """All that may be missing of a recording."""
    kinds = sorted({event.kind for event in run.events})
    return [*run.columns, *run.ragged, *(f"event {kind}" for kind in kinds), "facts"]


def without(run: Run, part: str) -> Run:
    """`run` without one of its `parts`."""
    if part == "facts":
        return replace(run, facts={})
    if part.startswith("event "):
        return replace(run, events=tuple(event for event in run.events if event.kind != part.removeprefix("event ")))
    columns = {key: values for key, values in run.columns.items() if key != part}
    ragged = {key: lists for key, lists in run.ragged.items() if key != part}
    # that a loss has a source but no value means that it was NaN throughout
    facts = {key: value for key, value in run.facts.items() if part != "loss" or key != "loss_source"}
    return replace(run, columns=columns, ragged=ragged, facts=facts)


def chosen(run: Run, count: int) -> list[str]:
    """`count` of the parts of a run, by a hash of both names: others for each run, and the same ones each time."""
    return sorted(parts(run), key=lambda part: zlib.crc32(f"{run.name} {part}".encode()))[:count]


def exceptions(run: Run, asked: list[str]) -> Iterator[tuple[str, Finding]]:
    """Each part of `asked` without which a fault is found that is not there with it, or more surely, and that finding."""
    known = {finding.cause: finding.strength for finding in diagnose(run).findings}
    known = {**{less: "proved" for cause in known for less in LESS_EXACT.get(cause, ())}, **known}
    for part in asked:
        for finding in _faults(diagnose(without(run, part))):
            before = known.get(finding.cause)
            if before is None or _STRENGTH[finding.strength] > _STRENGTH[before]:
                yield part, finding


def _faults(diagnosis: Diagnosis) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.kind in ("fault", "artifact")]


def main(arguments: list[str] | None = None) -> int:
    """Asks, prints; 1 if there is an exception."""
    parser = argparse.ArgumentParser(prog="python -m demo.gallery.properties", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo/gallery_runs"), help="where the gallery was recorded")
    parser.add_argument("--parts", type=int, default=sys.maxsize, help="parts to leave out of each recording (default: all)")
    options = parser.parse_args(arguments)
    console, count, asked = Console(), 0, 0
    names = json.loads((options.out / "names.json").read_text())
    runs = load_runs(str(options.out / "logs"))
    for name, run in track(runs.items(), "leaving out", len(runs), console=console):
        which = chosen(run, options.parts)
        asked += len(which)
        for part, finding in exceptions(run, which):
            count += 1
            one = names[name]
            said = f"{finding.cause} {finding.detail} ({finding.strength})"
            console.print(f"{one['loop']} on {one['base']} without {part}: {said}: {finding.text}", markup=False)
    console.print(f"{count} exceptions in {asked:,} recordings with a part left out", markup=False)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
