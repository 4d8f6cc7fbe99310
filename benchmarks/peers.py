"""Other ways to watch a training, each attached to it as its users do; what cannot be imported is left out.

smdebug asks for a protobuf of before 2022, beside which neither TensorBoard nor wandb of today can be imported: it is here for
an environment of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
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
        step: makes a step in the place of the training's own, where the watcher has to be around the backward; else None.
    """

    loader: Any
    after: Callable[[Tensor, int], None] | None
    close: Callable[[], None]
    spent: Callable[[], float] | None = None
    step: Callable[[Tensor, Tensor], Tensor] | None = None


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
        run.finish()

    return Attached(training.loader, after, close)


def cockpit_economy(training: Training, folder: Path) -> Attached:  # noqa: ARG001 - the same for all
    """The "economy" quantities of Cockpit at each step; BackPACK, on which it stands, knows plain sequences of layers only."""
    from backpack import extend  # type: ignore[import-not-found,unused-ignore]
    from cockpit import Cockpit  # type: ignore[import-not-found,unused-ignore]
    from cockpit.utils.configuration import configuration  # type: ignore[import-not-found,unused-ignore]

    model, criterion = extend(training.model), extend(nn.CrossEntropyLoss())
    single = nn.CrossEntropyLoss(reduction="none")
    cockpit, done = Cockpit(model.parameters(), quantities=configuration("economy")), [0]

    def step(inputs: Tensor, targets: Tensor) -> Tensor:
        inputs, targets = inputs.to(training.device), targets.to(training.device)
        output = model(inputs)
        loss: Tensor = criterion(output, targets)
        training.optimizer.zero_grad()
        info = {
            "batch_size": len(inputs),
            "individual_losses": single(output, targets),
            "loss": loss,
            "optimizer": training.optimizer,
        }
        with cockpit(done[0], info=info):
            loss.backward(create_graph=cockpit.create_graph(done[0]))
        training.optimizer.step()
        done[0] += 1
        return loss

    return Attached(training.loader, None, lambda: None, step=step)


def smdebug_hook(training: Training, folder: Path) -> Attached:
    """The hook of SageMaker Debugger, which saves everything at each step."""
    import smdebug.pytorch as smd  # type: ignore[import-not-found,unused-ignore]

    hook = smd.Hook(out_dir=str(folder / "smdebug"), save_config=smd.SaveConfig(save_interval=1), save_all=True)
    hook.register_module(training.model)
    hook.register_loss(training.criterion)
    return Attached(training.loader, None, hook.close)


Attach = Callable[[Training, Path], Attached]


def installed() -> dict[str, Attach]:
    """Every peer that this machine has, by name."""
    peers: dict[str, Attach] = {"hooks and add_scalar": naive}
    others = {
        "Lightning grad_norm": ("lightning.pytorch", lightning_norms),
        "wandb.watch offline": ("wandb", wandb_watch),
        "Cockpit economy": ("cockpit", cockpit_economy),
        "smdebug": ("smdebug.pytorch", smdebug_hook),
    }
    for name, (module, attach) in others.items():
        try:
            import_module(module)
        except Exception as error:  # noqa: BLE001 - a package may fail to be imported in any way
            if not isinstance(error, ModuleNotFoundError) or error.name != module.split(".")[0]:
                print(f"{name} is installed and cannot be imported: {str(error).splitlines()[0]}")
        else:
            peers[name] = attach
    return peers


def synchronize(device: torch.device) -> None:
    """Waits for a device before the clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
