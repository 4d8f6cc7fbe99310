"""Tells how far the running statistics of each BatchNorm layer are from those of the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tb_losslens.record.collector import Collector
from tb_losslens.record.late_list import LateList
from tb_losslens.record.measures import unwrapped
from tb_losslens.record.row import Row

COARSE = 0.05
"""Deviations of the batch (or of a logarithm of variances), and share of what is told, that rounding may make."""


class BatchNorms(Collector):
    """Would evaluation see the activations as training does?

    A layer in training moves its running statistics by `running = (1 - m) running + m batch`. Their change over a forward
    therefore gives those of the batch, `batch = old + change / m`, without a hook in the layer. m is the momentum; where it
    is None the running statistics are a plain average and m is 1 / updates. SyncBatchNorm moves them by the statistics
    over all processes, and so do those found here.

    Lists of a row, one number a layer in the order of the fact `batchnorm`, before the forward moved the statistics:

    - `bn_mean_gap`: distance of the running mean from the mean of the batch, in standard deviations of the batch; root mean
      square over the channels.
    - `bn_log_var_ratio`: logarithm of the running variance over the variance of the batch; mean over the channels.

    The layer's epsilon is added to each variance, as it is where they are used. NaN for a layer that did not move its
    statistics exactly once: frozen ones, those in eval mode, those not called, or called twice; and where the change is so
    small beside the statistics (a plain average of a million updates, a mean of a hundred deviations with a momentum of
    0.0001) that their rounding would make more than `COARSE` of what is told. Only the first forward of a row is seen. The
    reason for a layer that cannot tell is in the fact `batchnorm`, that of rounding from the next epoch on.

    Args:
        models: gives the watched models.
        facts: called with `{"batchnorm": table}` when the table of layers has changed.
    """

    deep = True
    name = "batchnorm"

    def __init__(self, models: Callable[[], Sequence[nn.Module]], facts: Callable[[Mapping[str, Any]], None]) -> None:
        self._models = models
        self._facts = facts
        self._known: tuple[int, ...] | None = None
        self._table: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}
        self._modules: list[tuple[int, _BatchNorm]] = []
        self._layout: _Layout | None = None
        self._before: tuple[Row, _Layout, Tensor] | None = None
        self._coarse: set[int] = set()

    def epoch_begins(self, epoch: int) -> None:  # noqa: ARG002 - the collector's signature
        """Looks for layers that are new, or in another state."""
        self._look()

    def forward_begins(self, row: Row, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: ARG002
        """The running statistics before the batch."""
        if self._known != tuple(map(id, self._models())):
            self._look()
        active = [(i, m) for i, m in self._modules if m.training and m.momentum != 0 and _is_there(m.running_mean)]
        self._before = None
        if not active:
            return
        if self._layout is None or not self._layout.fits(active):
            self._layout = _Layout(active, self._coarse)
        self._before = (row, self._layout, self._layout.read())

    def forward_ends(self, row: Row, output: Any) -> None:  # noqa: ARG002 - the collector's signature
        """What they were moved by."""
        held, self._before = self._before, None
        if held is None or held[0] is not row:
            return
        _, layout, before = held
        after, layers = layout.read(), len(self._numbers)
        if after.device.type == "cpu":
            row.lists["bn_mean_gap"], row.lists["bn_log_var_ratio"] = layout.compare(before.numpy(), after.numpy(), layers)
            return
        with torch.no_grad():
            both = LateList(torch.stack((before, after)))
        row.lists["bn_mean_gap"] = both.then(lambda read: layout.compare(read[0], read[1], layers)[0])
        row.lists["bn_log_var_ratio"] = both.then(lambda read: layout.compare(read[0], read[1], layers)[1])

    def _look(self) -> None:
        models = self._models()
        self._known = tuple(map(id, models))
        self._modules, self._layout, skipped, seen = [], None, {}, set()
        home = None
        for i, model in enumerate(models):
            inner = unwrapped(model)
            for name, module in inner.named_modules():
                if not isinstance(module, _BatchNorm) or id(module) in seen:
                    continue
                seen.add(id(module))
                full = f"{type(inner).__name__}{i + 1}.{name}" if i else name
                number = self._numbers.setdefault(full, len(self._numbers))
                reason = _why_not(module) or _why_not_here(model)
                if reason is None and number in self._coarse:
                    reason = "the rounding of its running statistics hides now what a batch moves"
                if reason is None and module.running_mean is not None:
                    home = home or module.running_mean.device
                    if module.running_mean.device != home:
                        reason = f"it is not on {home}"
                if reason is not None:
                    skipped[full] = reason
                if reason is None or "now" in reason:
                    self._modules.append((number, module))
        self._coarse.clear()
        table = {"names": list(self._numbers), "skipped": skipped}
        if self._numbers and table != self._table:
            self._table = table
            self._facts({"batchnorm": table})


class _Layout:
    """The layers of one forward, and where each is in one vector of all their channels.

    Args:
        layers: number and module of each; all have running statistics.
        coarse: takes the numbers of layers whose statistics are too coarse to be taken apart.
    """

    def __init__(self, layers: Sequence[tuple[int, _BatchNorm]], coarse: set[int]) -> None:
        self._coarse = coarse
        self._modules = [module for _, module in layers]
        self._key = [_key(module) for module in self._modules]
        sizes = [module.num_features for module in self._modules]
        self._averages = any(module.momentum is None for module in self._modules)
        self._channels = sum(sizes)
        self._numbers = [number for number, _ in layers]
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._sizes = np.array(sizes)
        self._eps = np.repeat(np.array([module.eps for module in self._modules], np.float32), sizes)
        self._momenta = np.array([math.nan if m.momentum is None else m.momentum for m in self._modules], np.float32)

    def fits(self, layers: Sequence[tuple[int, _BatchNorm]]) -> bool:
        """True if these are the same layers with the same settings."""
        return len(layers) == len(self._key) and self._key == [_key(module) for _, module in layers]

    def read(self) -> Tensor:
        """Means, variances and counters of all layers, shape (2 channels + layers,): a copy."""
        modules = self._modules
        with torch.no_grad():
            statistics = [_buffer(m, name) for name in ("running_mean", "running_var") for m in modules]
            # a count is exact in float32 up to 16,777,216 updates, beyond which it is no integer any more
            return torch.cat(
                [*statistics, torch.stack([_buffer(m, "num_batches_tracked") for m in modules]).to(statistics[0].dtype)]
            )

    def compare(self, before: NDArray[Any], after: NDArray[Any], layers: int) -> NDArray[np.float32]:
        """Mean gap and log variance ratio of each layer, from what `read` gave; shape (2, layers): see `BatchNorms`."""
        n = self._channels
        with np.errstate(all="ignore"):
            moved = after - before
            momenta = np.where(np.isnan(self._momenta), 1 / after[2 * n :], self._momenta) if self._averages else self._momenta
            steps = np.repeat(momenta, self._sizes)
            var = before[n : 2 * n]
            batch_var = np.maximum(var + moved[n : 2 * n] / steps, 0) + self._eps
            gap = (moved[:n] / steps) ** 2 / batch_var
            ratio = np.log((var + self._eps) / batch_var)
            ulp = np.finfo(after.dtype).eps / 2
            blur = (ulp * after[:n] / steps) ** 2 / batch_var
            blurred = ulp * after[n : 2 * n] / steps / batch_var
            found = np.add.reduceat(np.stack((gap, ratio, blur, blurred)), self._starts, axis=1) / self._sizes
            found, blurs = found[:2], found[2:]
            found[0] **= 0.5
            blurs[0] **= 0.5
            coarse = blurs > COARSE * (1 + np.abs(found))
        found[coarse] = math.nan
        self._coarse.update(np.array(self._numbers)[coarse.any(0)].tolist())
        found[:, moved[2 * n :] != 1] = math.nan
        full = np.full((2, layers), math.nan, np.float32)
        full[:, self._numbers] = found
        return full


def _key(module: _BatchNorm) -> tuple[Any, ...]:
    return id(module), module.momentum, module.eps, module.running_mean.device if module.running_mean is not None else None


def _buffer(module: _BatchNorm, name: str) -> Tensor:
    buffer: Tensor = module._buffers[name]  # type: ignore[assignment]
    return buffer


def _is_there(mean: Tensor | None) -> bool:
    return mean is not None and not nn.parameter.is_lazy(mean)


def _why_not(module: _BatchNorm) -> str | None:
    """Why the statistics of a layer cannot be told; a reason that may end has "now" in it."""
    if not module.track_running_stats:
        return "it keeps no running statistics"
    mean = module.running_mean
    if mean is None or nn.parameter.is_lazy(mean) or mean.is_meta:
        return "it has no running statistics now"
    if mean.element_size() < 4:
        return f"its running statistics are kept in {mean.dtype}, too coarse to be taken apart"
    if module.momentum == 0:
        return "its momentum is 0 now"
    if not module.training:
        return "it is in eval mode now"
    return None


def _why_not_here(model: nn.Module) -> str | None:
    """Why no layer of a model can be told in this process."""
    if getattr(model, "broadcast_buffers", False) and torch.distributed.is_available() and torch.distributed.is_initialized():
        rank = torch.distributed.get_rank()
        if rank:
            return f"process 0 sends its own running statistics to process {rank} at each forward"
    return None
