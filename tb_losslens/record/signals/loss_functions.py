"""Losses of a model's output against a target, by every function that a training usually takes, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tb_losslens.record.measures import widest

FUNCTIONS = (
    "cross_entropy",
    "nll",
    "cross_entropy_smoothed",
    "cross_entropy_of_softmax",
    "cross_entropy_of_probabilities",
    "mse_one_hot",
    "mse",
    "mae",
    "smooth_l1",
    "bce_with_logits",
    "bce",
    "mse_broadcast",
    "huber",
    "mae_broadcast",
    "smooth_l1_broadcast",
    "huber_broadcast",
)
"""In the order in which they are believed: the cross-entropy of log probabilities is their `nll`, too."""

REDUCTIONS = ("mean", "sum", "batchmean")
"""Mean of all elements (of all weights), their sum, and the sum divided by the samples of the batch."""

IDENTITIES = tuple(f"{function}/{reduction}" for function in FUNCTIONS for reduction in REDUCTIONS)
"""What the codes of column `loss_identity` mean."""

KINDS = ("anything", "probabilities", "log probabilities", "within 0..1")
"""What the codes of column `output_kind` mean."""

_CLOSE = 1e-3

_MOST_PAIRED = 1024
"""Samples of a batch of which each output is compared with each target one by one."""


@dataclass(frozen=True)
class Settings:
    """What a criterion says about itself.

    Attributes:
        weight: weight of each class, shape (C,), or None.
        ignore_index: target that does not count.
        smoothing: label smoothing to try.
        pos_weight: weight of the positive class (BCEWithLogitsLoss), one number or shape (C,), or None.
        beta: where `smooth_l1` turns from a square to a line.
        delta: the same of `huber`.
    """

    weight: Tensor | None = None
    ignore_index: int = -100
    smoothing: float = 0.1
    pos_weight: Tensor | None = None
    beta: float = 1.0
    delta: float = 1.0


@dataclass(frozen=True)
class Losses:
    """Losses of one function.

    Attributes:
        sums: loss of each sample, the sum of its elements, float32 of shape (n,); weights of classes are in it.
        weights: what a mean divides by, the sum over elements and samples; 0-d.
        elements: elements (or tokens) of each sample that count, shape (n,), for the mean of a sample.
    """

    sums: Tensor
    weights: Tensor
    elements: Tensor

    def reduced(self) -> Tensor:
        """The three reductions, float64 (where the device has it) of shape (3,), in the order of `REDUCTIONS`."""
        total = self.sums.sum(dtype=widest(self.sums.device))
        return torch.stack([total / self.weights, total, total / len(self.sums)])

    @property
    def per_sample(self) -> Tensor:
        """Mean loss of each sample, shape (n,)."""
        return self.sums / self.elements.clamp(min=1)


def losses_by(functions: tuple[str, ...], output: Tensor, target: Tensor, settings: Settings) -> dict[str, Losses]:
    """Losses by function, those that make sense for these shapes and types; empty where none does.

    Args:
        functions: which of `FUNCTIONS` to compute.
        output: floating, shape (n, C), (n, C, ...), (n, ..., C) or that of the target.
        target: integer classes of shape (n, ...), or floating of the shape of the output.
        settings: of the criterion.
    """
    with torch.no_grad():
        output, target = output.detach().float(), target.detach()
        found: dict[str, Losses] = {}
        if not target.is_floating_point() and not target.is_complex():
            table = as_classes(output, target)
            if table is not None:
                found.update(_of_classes(functions, table, target, settings))
        if output.numel() == target.numel() and not target.is_complex():
            found.update(_of_numbers(functions, output, target.float(), settings))
        return found


def as_classes(output: Tensor, target: Tensor) -> Tensor | None:
    """Output as (elements, C) in the order of the target's elements; None where no axis of it can be that of the classes."""
    if output.dim() >= 2 and target.shape == (output.shape[0], *output.shape[2:]):
        return output.movedim(1, -1).reshape(-1, output.shape[1])
    if output.dim() >= 2 and target.shape == output.shape[:-1]:
        return output.reshape(-1, output.shape[-1])
    return None


def output_kind(output: Tensor) -> Tensor:
    """Code of `KINDS` of an output of shape (elements, C), or any shape for single numbers; a 0-d tensor on its device."""
    with torch.no_grad():
        values = output.detach().float()
        if values.is_cpu and values.numel():
            least, most = torch.aminmax(values)
            low, high = least.item(), most.item()
            if not (low >= 0 and high <= 1) and not high <= 0:  # as most outputs; NaN is neither
                return torch.zeros((), dtype=torch.int64)
        inside = ((values >= 0) & (values <= 1)).all()
        kind = torch.where(inside, 3, 0)
        if values.dim() == 2 and values.shape[1] > 1:
            is_one = (values.sum(1) - 1).abs().max() < _CLOSE
            is_log = (torch.logsumexp(values, 1).abs().max() < _CLOSE) & (values <= 0).all()
            kind = torch.where(is_log, 2, torch.where(inside & is_one, 1, kind))
        return kind


def _of_classes(functions: tuple[str, ...], table: Tensor, target: Tensor, settings: Settings) -> dict[str, Losses]:
    samples, classes = target.shape[0], table.shape[1]
    flat = target.reshape(-1).long()
    counts = (flat >= 0) & (flat < classes) & (flat != settings.ignore_index)
    index = torch.where(counts, flat, 0)[:, None]
    weight = settings.weight
    fits = weight is not None and weight.shape == (classes,) and weight.device == table.device
    share = counts.float() if not fits or weight is None else counts * weight.detach().float()[index[:, 0]]

    def picked(scores: Tensor) -> Tensor:
        return -scores.gather(1, index)[:, 0]

    def smoothed() -> Tensor:
        log = functional.log_softmax(table, 1)
        if fits and weight is not None:  # torch weighs the classes of the uniform part, too
            uniform = -(log * weight.detach().float()).sum(1) / share.clamp(min=1e-30)
        else:
            uniform = -log.sum(1)
        return (1 - settings.smoothing) * picked(log) + settings.smoothing / classes * uniform

    ways: dict[str, Callable[[], Tensor]] = {
        "cross_entropy": lambda: picked(functional.log_softmax(table, 1)),
        "nll": lambda: picked(table),
        "cross_entropy_smoothed": smoothed,
        "cross_entropy_of_softmax": lambda: picked(functional.log_softmax(functional.softmax(table, 1), 1)),
        "cross_entropy_of_probabilities": lambda: picked(table.clamp(min=1e-30).log()),
    }
    elements = counts.reshape(samples, -1).sum(1)
    found = {
        name: Losses((ways[name]() * share).reshape(samples, -1).sum(1), share.sum(dtype=widest(share.device)), elements)
        for name in functions
        if name in ways
    }
    if "mse_one_hot" in functions:
        square = table.square().sum(1) - 2 * table.gather(1, index)[:, 0] + 1
        size = torch.full_like(elements, target[0].numel() * classes)
        found["mse_one_hot"] = Losses(square.reshape(samples, -1).sum(1), size.sum(), size)
    return found


def _of_numbers(functions: tuple[str, ...], output: Tensor, target: Tensor, settings: Settings) -> dict[str, Losses]:
    samples = target.shape[0]
    o, t = output.reshape(samples, -1), target.reshape(samples, -1)
    size = torch.full((samples,), t.shape[1], device=o.device)

    def bce_with_logits() -> Tensor:
        weight = settings.pos_weight
        fits = weight is not None and weight.device == o.device and (weight.numel() == 1 or weight.shape == output.shape[-1:])
        if not fits or weight is None or output.shape != target.shape:
            return functional.binary_cross_entropy_with_logits(o, t, reduction="none")
        weight = weight.detach().float()
        whole = functional.binary_cross_entropy_with_logits(output, target, reduction="none", pos_weight=weight)
        return whole.reshape(samples, -1)

    ways: dict[str, Callable[[], Tensor]] = {
        "mse": (o - t).square,
        "mae": (o - t).abs,
        "smooth_l1": lambda: functional.smooth_l1_loss(o, t, reduction="none", beta=settings.beta),
        "huber": lambda: functional.huber_loss(o, t, reduction="none", delta=settings.delta),
        "bce_with_logits": bce_with_logits,
        # as torch bounds the logarithm
        "bce": lambda: -(t * o.log().clamp(min=-100) + (1 - t) * (1 - o).log().clamp(min=-100)),
    }
    found = {name: Losses(ways[name]().sum(1), size.sum(), size) for name in functions if name in ways}
    if output.shape != target.shape and t.shape[1] == 1 and samples > 1:
        found.update(_of_all_pairs(functions, o[:, 0], t[:, 0], settings))
    return found


def _of_all_pairs(functions: tuple[str, ...], output: Tensor, target: Tensor, settings: Settings) -> dict[str, Losses]:
    """Every output against every target, both of shape (n,): the shapes (n, 1) and (n,) do that without a word."""
    samples = len(output)
    size = torch.full((samples,), 1, device=output.device) * samples
    found = {}
    if "mse_broadcast" in functions:
        a, b = output.to(widest(output.device)), target.to(widest(output.device))
        every = samples * (a.square() + b.square().mean() - 2 * a * b.mean())
        found["mse_broadcast"] = Losses(every, size.sum(), size)
    if samples > _MOST_PAIRED:
        return found
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "mae_broadcast": lambda a, b: (a - b).abs(),
        "smooth_l1_broadcast": lambda a, b: functional.smooth_l1_loss(a, b, reduction="none", beta=settings.beta),
        "huber_broadcast": lambda a, b: functional.huber_loss(a, b, reduction="none", delta=settings.delta),
    }
    chosen = [name for name in functions if name in ways]
    if chosen:
        a, b = output[:, None].expand(samples, samples), target[None, :].expand(samples, samples)
        found.update({name: Losses(ways[name](a, b).sum(1), size.sum(), size) for name in chosen})
    return found
