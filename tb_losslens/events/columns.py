"""Names every signal that is recorded, with its unit and the line of user code that records it.

The recorder writes these names, the analysis requires them, the page labels them. A column that is not listed here is
legal (`log_batch(loss, my_number=...)`): it is kept, shown under its own name and judged by nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """One recorded quantity.

    Attributes:
        name: column name on disk and in `Run.columns` or `Run.ragged`.
        label: short name for a chart axis.
        unit: unit as text, empty if it has none.
        meaning: what one value is, in one line.
        how: the line of user code that records it, shown wherever it is missing.
        ragged: true if a batch holds a list of values and not one.
    """

    name: str
    label: str
    unit: str
    meaning: str
    how: str
    ragged: bool = False


_WATCH = "writer.watch(model, optimizer, criterion=criterion)"
_SCALAR = 'writer.add_scalar("Loss/train", loss, step)'
_WRAP = "train_loader = writer.wrap(train_loader)"

_LOG = "writer.log_batch(loss)"

SIGNALS: tuple[Signal, ...] = (
    Signal("step", "step", "", "the user's own global step, else the index of the batch", "writer.log_batch(loss, step=step)"),
    Signal("time", "time", "s", "wall time at the end of the batch, seconds since 1970", _LOG),
    Signal("loss", "loss", "", "raw loss of the batch, before any averaging over batches", _LOG),
    Signal(
        "logged_loss", "logged loss", "", "value of the user's own loss curve, where the raw loss is known besides", _SCALAR
    ),
    Signal("epoch", "epoch", "", "epoch that the batch belongs to", _WRAP),
    Signal("index", "position", "batches", "index of the batch in its epoch, from 0", _WRAP),
    Signal("batch_size", "batch size", "samples", "samples in the batch", _WRAP),
    Signal("data_wait", "data wait", "s", "time that the loop waited for the loader to deliver this batch", _WRAP),
    Signal("lr", "LR", "", "learning rate of parameter group 0 at the step (`lr.1`, `lr.2` for the others)", _WATCH),
    Signal("train_mode", "mode", "", "share of training mode at the forward: 1 every module, 0 none, 0.5 some", _WATCH),
    Signal(
        "bn_updates",
        "BatchNorm updates",
        "",
        "updates of running statistics so far, the least of all layers; -1 without any",
        _WATCH,
    ),
    Signal("grad_norm", "grad norm", "", "2-norm of all gradients at the end of backward, before clipping", _WATCH),
    Signal("grad_norm_at_step", "grad norm at step", "", "2-norm of all gradients at the step, after clipping", _WATCH),
    Signal("input_mean", "input mean", "", "mean of all elements of the first floating input of the model", _WATCH),
    Signal("input_std", "input std", "", "standard deviation of the same elements", _WATCH),
    Signal("input_nonfinite", "bad inputs", "elements", "elements of the same input that are NaN or infinite", _WATCH),
    Signal("target_mean", "target mean", "", "mean of floating targets", _WATCH),
    Signal("target_std", "target std", "", "standard deviation of floating targets", _WATCH),
    Signal(
        "source", "data source", "", "number of the data source that the batch came from", "writer.log_batch(loss, source=name)"
    ),
    Signal("hidden_norm", "hidden state", "", "2-norm of the incoming hidden state", "writer.log_batch(loss, hidden=hidden)"),
    Signal("classes", "class mix", "samples", "pairs (class, count) of integer targets, the 32 largest counts", _WRAP, True),
    Signal("class_rest", "other classes", "samples", "samples of classes beyond the 32 largest of the batch", _WRAP),
    Signal("sample_ids", "sample ids", "", "dataset indices of the batch, in order", _WRAP, True),
    Signal(
        "per_sample",
        "per-sample loss",
        "",
        "loss of each sample, in the order of sample_ids",
        "writer.log_batch(loss, per_sample=losses)",
        True,
    ),
)

BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}


def how_to_record(name: str) -> str:
    """The line of user code that records column `name`; for a name of the user's own, the `log_batch` keyword."""
    signal = BY_NAME.get(name)
    return signal.how if signal else f"writer.log_batch(loss, {name}={name})"
