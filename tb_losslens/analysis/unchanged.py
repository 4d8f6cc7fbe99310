"""Whether the weights still change: a training whose weights are the same bits from some batch on learns nothing any more.

Exact: the checksum of all parameters is equal at both ends of every epoch from there on, and an optimizer stepped in between,
or none ever did and more than one epoch went by: one that steps after the loop of an epoch leaves the weights alone inside it.
Where no checksum is known, the size of each update, read off the same elements, is zero in every batch that was looked into. It
is said where there are numbers to learn from: weights that are NaN stay NaN, and a schedule that has come down to an LR of zero
has ended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.hidden import bad_gradient, under_finite
from tb_losslens.analysis.text import number, plural
from tb_losslens.analysis.weight_records import Recorded, recorded_weights
from tb_losslens.store.run import Run

_AT_STEP = ("update_ratio", "weight_norm", "grad_norm_at_step", "opt_step", "micro_batches")
"""What is read when an optimizer steps."""


@dataclass(frozen=True)
class Unchanged:
    """Weights that do not change.

    Attributes:
        row: the first batch from which on they are the same.
        headline, why, advice: what to say, as sentences without and with a full stop.
        short: a few words for the list of runs.
    """

    row: int
    headline: str
    why: str
    advice: str
    short: str = "weights do not change"


_WHOSE = (
    "Check that the optimizer holds the parameters of this model: build it with `model.parameters()` after the model was "
    "built or moved."
)
_CUT_OFF = (
    "Check that nothing cuts the loss off the model (`detach()`, `item()`, `no_grad()`, a new tensor), that the parameters "
    "have `requires_grad`, and that the optimizer holds those of this model."
)

_LEFT_OUT = (
    "Find the operation whose derivative is not finite: run such a batch under `torch.autograd.set_detect_anomaly(True)`."
)


def unchanged_weights(run: Run, *, least: int = 10) -> Unchanged | None:
    """What to say where the weights have not changed for `least` batches and an epoch up to the end; None where they do."""
    since = _by_checksums(run, least)
    proof = "the checksum of all parameters is the same at both ends of every epoch"
    if since is None and not _at_ends(run):
        since = _by_updates(run, least)
        proof = "every update that was looked into is zero"
    if since is None or not np.isfinite(run.loss[since:]).any():
        return None
    bad = bad_gradient(run)
    if len(under_finite(run, bad)[0]) and not np.isfinite(run.float("weight_norm")[since:]).any():
        return None  # weights that are not finite, under a loss that was made finite
    lr = _largest_lr(run, since)
    if since > 0 and lr == 0:
        return None
    begin = (
        f"Nothing is learned: the weights did not change in any of {plural(len(run), 'batch')}"
        if since == 0
        else f"Nothing is learned any more: the weights did not change since batch {since:,}"
    )
    proof += " since" if since else ""
    why, advice = _reason(run, since, lr)
    return Unchanged(since, begin, f"Fault, proved: {proof}. {why}", advice)


def _at_ends(run: Run) -> list[Recorded]:
    """The checksums at the ends of the epochs, in order."""
    return [one for one in recorded_weights(run) if one[0].kind in ("epoch_begin", "epoch_end")]


def _by_checksums(run: Run, least: int) -> int | None:
    """The first row from which on all checksums are equal, `least` batches and more before the last of them."""
    seen = _at_ends(run)
    if not seen:
        return None
    begin = next((place + 1 for place in range(len(seen) - 1, -1, -1) if seen[place][1] != seen[-1][1]), 0)
    first, last = seen[begin][0].batch, seen[-1][0].batch
    moved = (run.float("update_ratio")[first:] > 0).any()  # what is trained is not what was watched
    since, until = (int(seen[place][0].fields.get("steps_outside") or 0) for place in (begin, -1))
    epochs = sum(epoch.first < last and epoch.last > first for epoch in run.epochs)
    tried = _steps_in(run, first, last) or until > since or (epochs > 1 and not until)
    return first if last - first >= least and not moved and tried else None


def _steps_in(run: Run, first: int, last: int) -> bool:
    """True if a step of an optimizer was seen in these rows."""
    return any(np.isfinite(run.float(name)[first:last]).any() for name in _AT_STEP)


def _by_updates(run: Run, least: int) -> int | None:
    """The first row from which on every known update is zero, in `least` rows or more."""
    ratio = run.float("update_ratio")
    known = np.flatnonzero(np.isfinite(ratio))
    moved = np.flatnonzero(ratio > 0)
    first = int(moved[-1]) + 1 if len(moved) else 0
    return first if (known >= first).sum() >= least else None


def _largest_lr(run: Run, since: int) -> float:
    """Largest LR of any group from row `since` on, NaN where it is not known."""
    names = [name for name in run.columns if name == "lr" or (name.startswith("lr.") and name[3:].isdigit())]
    values = np.concatenate([run.float(name)[since:] for name in names]) if names else np.empty(0)
    values = values[np.isfinite(values)]
    return float(values.max()) if len(values) else float("nan")


def _reason(run: Run, since: int, lr: float) -> tuple[str, str]:
    """(why, what to do) by what was recorded of the gradients, the LR and the scaler; the first that holds."""
    gradient = run.float("grad_norm")[since:]
    gradient = gradient[np.isfinite(gradient)]
    skipped = run.float("amp_skipped")[since:]
    skipped = skipped[np.isfinite(skipped)]
    model = run.facts.get("model")
    if isinstance(model, dict) and model.get("trainable") == 0:
        return "No parameter of the model has `requires_grad`.", "Set `requires_grad` for what is to be trained."
    if lr == 0:
        return "The learning rate is 0.", "Give the optimizer an LR above 0, and look at what the scheduler makes of it."
    if len(skipped) and (skipped == 1).all():
        return (
            "The scaler of mixed precision left out every step.",
            "Look for inf and NaN in the gradients, and call `scaler.update()` after each step.",
        )
    left = under_finite(run, bad_gradient(run))[1]
    if (left >= since).any() and not len(gradient):
        said = f"The gradient of {plural(int((left >= since).sum()), 'batch')} since is NaN or infinite, and no step is made."
        return said, _LEFT_OUT
    if not any(run.has(name) for name in _AT_STEP) and not any(e.fields.get("steps_outside") for e in run.events):
        return "No step of an optimizer was seen.", "Call `optimizer.step()` after `loss.backward()`."
    if len(gradient) and gradient.max() > 0:
        size = number(float(np.median(gradient)))
        return f"Gradients are there (norm {size}), and the steps change nothing.", _WHOSE
    zero = "The gradient is 0 at every step." if len(gradient) else "No gradient reached the parameters of the optimizer."
    return zero, _CUT_OFF
