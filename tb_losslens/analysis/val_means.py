"""Which function of the losses of its batches the logged value of a validation is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tb_losslens.analysis.stats import Floats, median, noise
from tb_losslens.store.run import Run, Validation


@dataclass(frozen=True)
class Logged:
    """The validations whose value the user logged and whose batches are all known, in order; shape (k,) each.

    Attributes:
        validations: themselves.
        value: what was logged.
        right: mean of the losses of the batches, by samples; by batches where their sizes are unknown.
        plain: mean by batches.
        first, last: loss of the first and the last batch.
        batches, samples: how many; samples are NaN where unknown.
        inflated: variance of the mean by batches over that of the mean by samples, 1 where sizes are equal.
        whole: no validation is left out, so that sums over all of them can be told.
        weights: sizes are known and differ.
    """

    validations: tuple[Validation, ...]
    value: Floats
    right: Floats
    plain: Floats
    first: Floats
    last: Floats
    batches: Floats
    samples: Floats
    inflated: Floats
    whole: bool
    weights: bool

    def __len__(self) -> int:
        return len(self.validations)


@dataclass(frozen=True)
class Identity:
    """What the logged value is: `detail` for the finding, `words` for a reader, `says` what it equals, shape (k,)."""

    detail: str
    words: str
    says: Floats


def logged_validations(run: Run) -> Logged:
    """The validations that can be judged; those whose value the recorder made itself are left out."""
    rows = [(v, *_batches(run, v)) for v in run.validations if v.fields.get("source") != "criterion"]
    known = [(v, losses, sizes) for v, losses, sizes in rows if len(losses) > 1]
    columns = [_of_one(v, losses, sizes) for v, losses, sizes in known]
    table = np.array(columns, dtype=np.float64).reshape(len(columns), 8)
    differ = [len(sizes) > 0 and sizes.min() != sizes.max() for _, _, sizes in known]
    value, right, plain, first, last, batches, samples, inflated = table.T
    whole = len(known) == len(run.validations)
    kept = tuple(v for v, _, _ in known)
    return Logged(kept, value, right, plain, first, last, batches, samples, inflated, whole, any(differ))


def _of_one(validation: Validation, losses: Floats, sizes: Floats) -> tuple[float, ...]:
    plain = float(losses.mean())
    right = float((losses * sizes).sum() / sizes.sum()) if len(sizes) else plain
    samples = float(sizes.sum()) if len(sizes) else math.nan
    # of equally noisy samples: a mean of B means of n_i each, over one of all N
    inflated = float(samples * (1 / sizes).sum() / len(losses) ** 2) if len(sizes) else 1.0
    return validation.value, right, plain, float(losses[0]), float(losses[-1]), float(len(losses)), samples, inflated


def _batches(run: Run, validation: Validation) -> tuple[Floats, Floats]:
    """(losses, sizes) of all batches of a validation; no losses where one is missing or not finite, no sizes where unknown."""
    fields, none = validation.fields, np.empty(0)
    losses = _numbers(fields.get("batch_losses"))
    count = fields.get("batches")
    several = (fields.get("scalars") or 1) > 1  # the value is the recorder's mean of what was written in each batch
    if several or not np.isfinite(losses).all() or not math.isfinite(validation.value) or count not in (None, len(losses)):
        return none, none
    sizes = _numbers(fields.get("batch_sizes"))
    if len(sizes) != len(losses) or not (sizes > 0).all() or not np.isfinite(sizes).all():
        sizes = none
    criterion = run.facts.get("criterion")
    if isinstance(criterion, dict) and criterion.get("reduction") == "sum":
        return (losses / sizes, sizes) if len(sizes) else (none, none)
    return losses, sizes


def _numbers(values: object) -> Floats:
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float) for value in values):
        return np.empty(0)
    return np.array(values, dtype=np.float64)


def same(a: Floats, b: Floats, *, rtol: float) -> np.ndarray:
    """Where two series are one number up to rounding, bool, shape (k,)."""
    return np.isclose(a, b, rtol=rtol, atol=0)


def identity_of(run: Run, logged: Logged, *, rtol: float, most: float = 0.9, least: int = 2) -> Identity | None:
    """The first wrong mean that the logged values are; None where none holds.

    It must hold in `most` of the validations in which it differs from the right mean by ten roundings, `least` of them.
    """
    for one in _candidates(run, logged):
        apart = ~same(one.says, logged.right, rtol=10 * rtol)
        if apart.sum() >= least and same(logged.value, one.says, rtol=rtol)[apart].mean() >= most:
            return one
    return None


def _candidates(run: Run, logged: Logged) -> list[Identity]:
    """All wrong means that are looked for, those that need nothing but the validation itself first."""
    out = [
        Identity("last_batch", "the loss of its last batch", logged.last),
        Identity("first_batch", "the loss of its first batch", logged.first),
        Identity("unweighted", "the mean over batches, each counted alike whatever its size", logged.plain),
    ]
    if logged.whole:
        for base, weight in ((logged.right, logged.samples), (logged.plain, logged.batches)):
            if np.isfinite(weight).all():
                mean = np.cumsum(base * weight) / np.cumsum(weight)
                out.append(Identity("not_reset", "the mean over this validation and all before it", mean))
        words = "the sum of this validation and all before it"
        out += [Identity("not_reset", words, np.cumsum(base)) for base in (logged.right, logged.plain)]
    factors = _factors(run, logged)
    return out + [Identity("scaled", words, base * by) for by, words in factors for base in (logged.right, logged.plain)]


def _factors(run: Run, logged: Logged) -> list[tuple[Floats, str]]:
    """Wrong divisors that are usual, each as a factor on the mean, shape (k,), and in words."""
    batches, samples = logged.batches, logged.samples
    out = [
        (batches, "the sum over its batches, divided by nothing"),
        (samples, "the sum over its samples, divided by nothing"),
        (batches / samples, "the sum over its batches, divided by its samples"),
        (samples / batches, "the sum over its samples, divided by its batches"),
        (batches / (batches - 1), "the sum over its batches, divided by one too few"),
    ]
    training, per_epoch = run.facts.get("dataset_size"), run.facts.get("batches_per_epoch")
    if isinstance(per_epoch, int) and per_epoch > 0:
        out.append((batches / per_epoch, "the sum over its batches, divided by those of the training"))
    if isinstance(training, int) and training > 0:
        out.append((samples / training, "the sum over its samples, divided by those of the training"))
    return out


def matters(logged: Logged, *, lost: float, level: float, part: float) -> bool:
    """True if the mean by batches is as noisy as one of a part `lost` fewer samples, and it shows; or is ten times `level` off.

    It shows where it is off by `level` of the value, or moves by `part` of the values' own noise.
    """
    off = logged.plain - logged.right
    by, size = median(np.abs(off)), median(np.abs(logged.right))
    shows = by > level * size or noise(off) > part * noise(logged.right)
    return bool(by > 10 * level * size or (shows and median(1 - 1 / logged.inflated) > lost))


def best_of(values: Floats, validations: Sequence[Validation]) -> Validation:
    """The validation with the least value."""
    return validations[int(np.argmin(values))]
