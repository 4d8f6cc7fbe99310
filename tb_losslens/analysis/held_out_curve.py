"""The held-out loss over a training, beside the training loss of the same stretches, and where the former is best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.stats import Floats, finite, mean, median, noise, row_median
from tb_losslens.store.run import Run, Validation

_AGGREGATION = "validation_aggregation"


@dataclass(frozen=True)
class Curve:
    """One element for each validation with a finite value after the first batch, in order; shape (k,).

    Attributes:
        validations: themselves.
        rows: the batch before which each ended.
        value: the held-out loss: what was logged, or the mean over the batches where that is known to be something else.
        train: mean of the training loss since the validation before.
        smooth: median over `window` neighbours of `value`, fewer at the ends.
        window: odd, 3 for up to 30 validations, else a tenth of them.
        start: training loss of the first batches, before much was learned.
    """

    validations: tuple[Validation, ...]
    rows: NDArray[np.int64]
    value: Floats
    train: Floats
    smooth: Floats
    window: int
    start: float

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best(self) -> int:
        """The validation around which the median is least; of equal ones the first."""
        return int(np.argmin(self.smooth))

    @property
    def end(self) -> float:
        """Median of the last `window` values."""
        return median(self.value[-self.window :])

    @property
    def noise(self) -> float:
        """Standard deviation from one validation to the next without the trend; NaN where there are too few."""
        if len(self) < 5:
            return noise(self.value)
        return noise(np.diff(self.value)) / math.sqrt(3)  # second differences of white noise have 6 times its variance

    @property
    def learned(self) -> float:
        """How far the held-out loss fell below the start at its best."""
        return self.start - float(self.smooth[self.best])


def held_out_curve(context: Context, *, samples: int = 128) -> Curve | None:
    """The curve of a run; None without any validation after its first batch. `samples`: those of the start."""
    run = context.run
    mended = context.found(_AGGREGATION) is not None
    seen = [(v, _value(v, mended=mended)) for v in run.validations if v.batch > 0]
    seen = [(v, value) for v, value in seen if math.isfinite(value)]
    if not seen:
        return None
    rows = np.array([v.batch for v, _ in seen], dtype=np.int64)
    value = np.array([number for _, number in seen], dtype=np.float64)
    since = np.concatenate([[0], rows[:-1]])
    loss = run.loss
    train = np.array([mean(loss[a:b]) for a, b in zip(since, rows, strict=True)])
    window = 3 if len(rows) < 30 else len(rows) // 10 | 1
    return Curve(tuple(v for v, _ in seen), rows, value, train, _smooth(value, window), window, _start(run, samples))


def _value(validation: Validation, *, mended: bool) -> float:
    computed = validation.fields.get("computed")
    return float(computed) if mended and isinstance(computed, int | float) else validation.value


def _start(run: Run, samples: int) -> float:
    size = finite(run.float("batch_size")[:1])
    count = math.ceil(samples / size[0]) if len(size) and size[0] > 0 else 4
    return mean(run.loss[: min(max(count, 1), max(1, len(run) // 20))])


def _smooth(value: Floats, window: int) -> Floats:
    """Median over `window` neighbours, those at the ends over what there is, shape as `value`."""
    half = window // 2
    padded = np.concatenate([np.full(half, np.nan), value, np.full(half, np.nan)])
    return row_median(np.lib.stride_tricks.sliding_window_view(padded, window))


def epoch_of(run: Run, validation: Validation) -> int | None:
    """The epoch that a validation follows; None where it is not known."""
    if validation.epoch >= 0:
        return validation.epoch
    before = [epoch.epoch for epoch in run.epochs if epoch.first < validation.batch]
    return before[-1] if before else None


def place(run: Run, validation: Validation) -> str:
    """Where a validation is, in words: after epoch 4 (step 400)."""
    row = min(max(validation.batch - 1, 0), len(run) - 1)
    step, epoch = f"{int(run.step[row]):,}", epoch_of(run, validation)
    return f"after step {step}" if epoch is None else f"after epoch {epoch} (step {step})"


def inputs_moved(curve: Curve, split: int, *, far: float = 0.1) -> bool:
    """True if the inputs of the validations up to `split` and after it have other means or spreads: `far` of a spread."""
    means = np.array([_field(v, "input_mean") for v in curve.validations])
    spreads = np.array([_field(v, "input_std") for v in curve.validations])
    size = median(spreads[: split + 1])
    if not size > 0:
        return False
    moved = [abs(median(one[split + 1 :]) - median(one[: split + 1])) for one in (means, spreads)]
    return any(math.isfinite(by) and by > far * size for by in moved)


def _field(validation: Validation, name: str) -> float:
    value = validation.fields.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
