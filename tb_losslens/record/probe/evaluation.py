"""Evaluates fixed batches in evaluation mode and with the statistics of the batch, and leaves no trace in the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from tb_losslens.record.measures import unwrapped
from tb_losslens.record.probe.autocast_state import AutocastState
from tb_losslens.record.probe.batch import ProbeBatch, Unfit
from tb_losslens.record.probe.traceless import traceless
from tb_losslens.record.signals.batch_statistics import batch_statistics_mode, evaluate_mode, normalising_layers

Loss = Callable[..., Any]
"""Called with the output of the model and the other arguments of the batch, one target as a rule."""


def probed(model: nn.Module) -> nn.Module:
    """The module that is called: the user's own, below `torch.compile` and DDP, so that nothing is compiled or sent.

    Raises:
        Unfit: calling it would change it, or another process would have to take part.
    """
    inner = unwrapped(model)
    for module in inner.modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise Unfit("the model is compiled by TorchScript, whose modes cannot be set without a trace")
        if type(module).__name__ == "FullyShardedDataParallel":
            raise Unfit("the model is sharded: the other processes would have to be called, too")
        if type(module).__name__ == "OptimizedModule" and not hasattr(torch.compiler, "set_stance"):
            raise Unfit("a part of the model is compiled, which takes torch 2.6 to call without compiling it again")
    for tensor in (*inner.parameters(), *inner.buffers()):
        if tensor.device.type == "meta":
            raise Unfit("the model is on the meta device and has no numbers")
        if hasattr(tensor, "to_local"):
            raise Unfit("the model is sharded: the other processes would have to be called, too")
    return inner


def is_lazy(model: nn.Module) -> bool:
    """True while a parameter has no shape yet."""
    return any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()) or any(
        isinstance(b, nn.parameter.UninitializedBuffer) for b in model.buffers()
    )


def device_of(model: nn.Module) -> torch.device:
    """That of the first parameter, else of the first buffer, else the CPU."""
    first: Tensor | None = next(chain(model.parameters(), model.buffers()), None)
    return first.device if first is not None else torch.device("cpu")


def losses(
    model: nn.Module,
    batches: Mapping[str, ProbeBatch],
    loss: Loss,
    *,
    autocast: AutocastState,
    autocast_of_loss: AutocastState,
) -> dict[str, float | None]:
    """Mean loss of each batch, in both modes: `{name}_eval` and `{name}_batchstat`.

    The second is None where BatchNorm cannot take statistics of the batch, as of a single sample; without BatchNorm it
    is the first. Waits for the device.

    Args:
        model: what `probed` gave.
        batches: by name.
        loss: gives a tensor, of any shape.
        autocast: of the model's calls in training.
        autocast_of_loss: of the loss in training.

    Raises:
        ChangedWeights: the model wrote to its own parameters.
        Exception: whatever model and loss raise.
    """
    modules, device = list(model.modules()), device_of(model)

    def value(batch: ProbeBatch) -> float:
        args, kwargs, rest = batch.given(device)
        with autocast.again():
            output = model(*args, **kwargs)
        with autocast_of_loss.again():
            result = loss(output, *rest)
        return float(result.detach().float().mean()) if isinstance(result, Tensor) else float(result)

    found: dict[str, float | None] = {}
    for name, batch in batches.items():
        with traceless(modules):
            evaluate_mode(modules)
            found[f"{name}_eval"] = value(batch)
        if not normalising_layers(modules):
            found[f"{name}_batchstat"] = found[f"{name}_eval"]
            continue
        with traceless(modules):
            batch_statistics_mode(modules)
            try:
                found[f"{name}_batchstat"] = value(batch)
            except ValueError:  # one value a channel
                found[f"{name}_batchstat"] = None
    return found
