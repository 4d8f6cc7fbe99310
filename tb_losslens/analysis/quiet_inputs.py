"""What is said of inputs that do not change for good: by how much they move at most, and where they were not read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.finding import Checked, Skipped
from tb_losslens.analysis.input_levels import InputLevels
from tb_losslens.analysis.known import by_turn, is_known
from tb_losslens.analysis.stats import finite
from tb_losslens.analysis.text import percent, plural
from tb_losslens.store.run import Epoch, Run

_ID = "input_shift"


def quiet_inputs(run: Run, epochs: tuple[Epoch, ...], seen: InputLevels) -> Checked | Skipped:
    """Checked, or skipped where the inputs of the last epochs were not read: a change there would not have been seen."""
    read = [epoch.fields for epoch in epochs if epoch.fields.get("inputs_compared")]
    said = ""
    if read:
        changed, compared = (sum(int(f.get(name) or 0) for f in read) for name in ("inputs_changed", "inputs_compared"))
        said = f"; {percent(changed / compared)} of the samples that came back had another input"
    if not is_known(run, "input_mean").any():
        if run.has("train_mode"):
            return Checked(_ID, "mean and spread of the inputs are not recorded: inputs given as integers have none" + said)
        return Checked(_ID, f"what the model is given after the loader was not recorded{said}")
    if not seen.unit > 0:
        return Checked(_ID, "the inputs have no spread" + said)
    known = is_known(run, "input_mean") & by_turn(run)
    first, last = np.array([(epoch.first, epoch.last) for epoch in epochs], dtype=np.int64).T
    count = np.concatenate([[0], np.cumsum(known)])
    blank = count[last] == count[first]
    left_out = ""
    if blank.any():
        left_out = " of those that were read"
        said += f"; read in turn in {int(known.sum()):,} of {plural(len(run), 'batch')}, not checked in {_which(epochs, blank)}"
    steps, folds = finite(np.abs(np.diff(seen.means.middle))), finite(np.abs(np.diff(seen.logs.middle)))
    if not len(steps) or not len(folds):
        return Checked(_ID, "the inputs of too few batches were read to compare one epoch with the next" + said)
    moves, scaled = float(steps.max()) / seen.unit, float(np.expm1(folds.max()))
    places = f", nor do {plural(len(seen.places), 'place')} of a sample" if seen.places else ""
    only = "" if seen.places or read else "; only their mean and spread were recorded"
    most = f"the inputs move by {percent(moves)} of their spread at most, their spread by {percent(scaled)}"
    text = f"from epoch to epoch{left_out} {most}, and not for good{places}{said}{only}"
    return Skipped(_ID, text, "") if blank[-1] else Checked(_ID, text)


def _which(epochs: tuple[Epoch, ...], blank: NDArray[np.bool_], *, most: int = 6) -> str:
    """The epochs that are `blank`, shape (epochs,), in words, as "epochs 3 to 5 and 8"."""
    spans: list[list[int]] = []
    for k in np.flatnonzero(blank).tolist():
        if spans and k == spans[-1][1] + 1:
            spans[-1][1] = k
        else:
            spans.append([k, k])
    words = [str(epochs[a].epoch) if a == b else f"{epochs[a].epoch} to {epochs[b].epoch}" for a, b in spans[:most]]
    words += ["others"] if len(spans) > most else []
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"epoch{'s' if int(blank.sum()) > 1 else ''} {listed}"
