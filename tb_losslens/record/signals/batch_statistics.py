"""Puts a model into one of the two modes in which a fixed batch is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def normalising_layers(modules: Sequence[nn.Module]) -> list[nn.Module]:
    """The BatchNorm layers that keep running statistics."""
    return [module for module in modules if isinstance(module, _BatchNorm) and module._buffers.get("running_mean") is not None]


def evaluate_mode(modules: Sequence[nn.Module]) -> None:
    """Evaluation mode for each of them, past a `train()` or `eval()` of the user's own class."""
    for module in modules:
        module.training = False


def batch_statistics_mode(modules: Sequence[nn.Module]) -> None:
    """Evaluation mode, except that BatchNorm normalises with the statistics of the batch.

    A layer in evaluation mode without running statistics does that, and has none to update. In training mode it would
    update them, and a `SyncBatchNorm` would wait for the other processes. The caller puts the buffers back.
    """
    evaluate_mode(modules)
    for module in normalising_layers(modules):
        module._buffers["running_mean"] = module._buffers["running_var"] = None
