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
_CRITERION = (
    "writer.watch(criterion=criterion)     # a module; a function is known by its log, a watched model and a wrapped loader"
)
_SCALAR = 'writer.add_scalar("Loss/train", loss, step)'
_WRAP = "train_loader = writer.wrap(train_loader)"

_LOG = "writer.log_batch(loss)"
_SCALER = "writer.watch(model, optimizer, scaler=scaler)"

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
    Signal(
        "lr_closed_form",
        "LR by formula",
        "",
        "learning rate that the formula of the scheduler gives for the steps that it counts (`.1`, ... as of `lr`)",
        "writer.watch(model, optimizer, scheduler=scheduler)",
    ),
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
    Signal(
        "layer_grad_norm",
        "layer grad norm",
        "",
        "2-norm of the gradient of each layer at the end of backward, before clipping; names in the fact `layers`",
        _WATCH,
        True,
    ),
    Signal(
        "layer_update_ratio",
        "layer update / weight",
        "",
        "size of the update over size of the weights, each layer, from up to 256 elements of each parameter",
        _WATCH,
        True,
    ),
    Signal("update_ratio", "update / weight", "", "the same of all parameters together", _WATCH),
    Signal("weight_norm", "weight norm", "", "2-norm of all trained parameters, estimated from the same elements", _WATCH),
    Signal(
        "curvature",
        "curvature",
        "",
        "curvature of the loss along the last update: its gradient's change along it, over its length squared",
        _WATCH,
    ),
    Signal("grad_dot_update", "slope after update", "", "scalar product of the gradient and the update before it", _WATCH),
    Signal(
        "prev_grad_dot_update",
        "slope before update",
        "",
        "scalar product of the same update and the gradient that it was made from",
        _WATCH,
    ),
    Signal("opt_step", "optimizer step", "steps", "steps by the count of the optimizer itself", _WATCH),
    Signal(
        "moment1_norm",
        "first moment",
        "",
        "2-norm of the optimizer's mean of gradients, estimated from the same elements",
        _WATCH,
    ),
    Signal(
        "moment2_norm",
        "second moment",
        "",
        "2-norm of the optimizer's mean of squared gradients, estimated from the same elements",
        _WATCH,
    ),
    Signal(
        "bn_mean_gap",
        "BatchNorm mean gap",
        "",
        "distance of running mean from batch mean in sd of the batch, each BatchNorm layer; names in the fact `batchnorm`",
        _WATCH,
        True,
    ),
    Signal(
        "bn_log_var_ratio",
        "BatchNorm variance ratio",
        "",
        "logarithm of running variance over batch variance, each BatchNorm layer",
        _WATCH,
        True,
    ),
    Signal("input_mean", "input mean", "", "mean of all elements of the first floating input of the model", _WATCH),
    Signal("input_std", "input std", "", "standard deviation of the same elements", _WATCH),
    Signal("input_nonfinite", "bad inputs", "elements", "elements of the same input that are NaN or infinite", _WATCH),
    Signal("amp_scale", "loss scale", "", "scale of mixed precision at the forward", _SCALER),
    Signal("amp_skipped", "skipped step", "", "1 if the scaler left out the step before this row: inf or NaN in it", _SCALER),
    Signal("micro_batches", "micro-batches", "", "backwards since the optimiser step before", _WATCH),
    Signal(
        "grads_before_backward",
        "uncleared gradients",
        "",
        "1 if gradients were there at every backward since the step before",
        _WATCH,
    ),
    Signal(
        "grads_untouched",
        "untouched gradients",
        "",
        "1 if they were those of the step before, and nobody had cleared them or added to them; only where there were any",
        _WATCH,
    ),
    Signal(
        "loss_identity", "loss is", "", "which function of output and target the loss is, -1 none: facts.identities", _CRITERION
    ),
    Signal(
        "output_kind",
        "output is",
        "",
        "0 anything, 1 probabilities, 2 log probabilities, 3 within 0..1, -1 unknown",
        _CRITERION,
    ),
    Signal(
        "input_relation",
        "input against loader",
        "",
        "input of the model against the loader's batch: 0 equal, 1 affine, 2 affine by sample, 3 affine by channel, 4 other",
        _WRAP,
    ),
    Signal("input_slope", "input slope", "", "factor from the loader's batch to the input of the model", _WRAP),
    Signal("input_offset", "input offset", "", "what is added after that", _WRAP),
    Signal("input_sketch", "input sketch", "", "mean over the batch at up to 64 fixed places of a sample", _WATCH, True),
    Signal("sample_level_max", "highest sample", "", "largest mean of a sample of the input", _WATCH),
    Signal("sample_level_median", "median sample", "", "median of the means of the samples", _WATCH),
    Signal("sample_level_min", "lowest sample", "", "smallest mean of a sample of the input", _WATCH),
    Signal("sample_level_at", "highest sample at", "", "place in the batch of the sample with the largest mean", _WATCH),
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
        "dense",
        "dense",
        "",
        "why the signals that cost something were read: 1 in turn, 2 near a boundary, 3 the loss is unusual; 0 they were not",
        _WRAP,
    ),
    Signal(
        "cadence",
        "cadence",
        "batches",
        "batches from the dense one before to the newest dense one, those of reason 3 aside",
        _WRAP,
    ),
    Signal(
        "per_sample",
        "per-sample loss",
        "",
        "loss of each sample, in the order of sample_ids",
        "writer.log_batch(loss, per_sample=losses)",
        True,
    ),
    Signal(
        "class_losses",
        "loss by class",
        "",
        "triples (class, samples, sum of their losses) where the losses of single samples are known, the 32 largest counts",
        _CRITERION,
        True,
    ),
    Signal(
        "sample_loss_max", "largest loss of a sample", "", "largest loss of a single sample, where these are known", _CRITERION
    ),
    Signal("sample_loss_max_id", "its sample", "", "dataset index of the sample with the largest loss", _WRAP),
)

BY_NAME: dict[str, Signal] = {signal.name: signal for signal in SIGNALS}


def how_to_record(name: str) -> str:
    """The line of user code that records column `name`; for a name of the user's own, the `log_batch` keyword."""
    signal = BY_NAME.get(name)
    return signal.how if signal else f"writer.log_batch(loss, {name}={name})"
