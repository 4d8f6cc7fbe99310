"""Other ways to watch a training, each attached to it as its users do; what is not installed is left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from benchmarks.trainings import Training
from tb_losslens import LossLensWriter


@dataclass
class Attached:
    """A watcher on a training.

    Attributes:
        loader: what the loop iterates.
        after: called after each step with its loss and number, where the watcher needs a line of the loop; else None.
        close: ends it.
        spent: seconds spent in the watcher so far, if it can tell.
    """

    loader: Any
    after: Callable[[Tensor, int], None] | None
    close: Callable[[], None]
    spent: Callable[[], float] | None = None


def nothing(training: Training, folder: Path) -> Attached:  # noqa: ARG001 - the same for all
    """The training alone."""
    return Attached(training.loader, None, lambda: None)


def losslens(training: Training, folder: Path) -> Attached:
    """Everything on, default budget."""
    writer = LossLensWriter(str(folder))
    writer.watch(training.model, training.optimizer, criterion=training.criterion)
    return Attached(writer.wrap(training.loader), None, writer.close, lambda: writer._guard.spent)


def naive(training: Training, folder: Path) -> Attached:
    """What people write by hand: the norm of each gradient, and statistics of each activation, by `add_scalar`."""
    writer = SummaryWriter(str(folder))
    seen: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out.detach().norm()))
        for name, module in training.model.named_modules()
        if not isinstance(module, (nn.Sequential, nn.TransformerEncoder)) and name
    ]

    def after(loss: Tensor, step: int) -> None:
        writer.add_scalar("loss", loss.item(), step)
        for name, parameter in training.model.named_parameters():
            if parameter.grad is not None:
                writer.add_scalar(f"grad/{name}", parameter.grad.norm().item(), step)
        for name, norm in seen.items():
            writer.add_scalar(f"out/{name}", norm.item(), step)

    def close() -> None:
        for handle in handles:
            handle.remove()
        writer.close()

    return Attached(training.loader, after, close)


def lightning_norms(training: Training, folder: Path) -> Attached:
    """`grad_norm` of Lightning, logged by `add_scalar`."""
    from lightning.pytorch.utilities import grad_norm  # type: ignore[import-not-found,unused-ignore]

    writer = SummaryWriter(str(folder))

    def after(loss: Tensor, step: int) -> None:
        writer.add_scalar("loss", loss.item(), step)
        for name, value in grad_norm(training.model, norm_type=2).items():
            writer.add_scalar(name, float(value), step)

    return Attached(training.loader, after, writer.close)


def wandb_watch(training: Training, folder: Path) -> Attached:
    """`wandb.watch` of gradients and parameters at each step, offline."""
    os.environ["WANDB_SILENT"] = "true"
    import wandb  # type: ignore[import-not-found,unused-ignore]

    run = wandb.init(mode="offline", dir=str(folder), project="overhead")
    wandb.watch(training.model, log="all", log_freq=1)

    def after(loss: Tensor, step: int) -> None:
        run.log({"loss": loss.item()}, step=step)

    def close() -> None:
        wandb.unwatch(training.model)
        run.finish(quiet=True)

    return Attached(training.loader, after, close)


Attach = Callable[[Training, Path], Attached]


def installed() -> dict[str, Attach]:
    """Every peer that this machine has, by name."""
    peers: dict[str, Attach] = {"hooks and add_scalar": naive}
    if find_spec("lightning") is not None:
        peers["Lightning grad_norm"] = lightning_norms
    if find_spec("wandb") is not None:
        peers["wandb.watch offline"] = wandb_watch
    return peers


def synchronize(device: torch.device) -> None:
    """Waits for a device before the clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
