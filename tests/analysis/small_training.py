"""One small training through the real writer, with a hook at each place where something can be done to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.store.run import Run
from tests.toys import dataset


def record(
    directory: Path,
    *,
    epochs: int = 6,
    batch_size: int = 32,
    lr: float = 0.1,
    model: nn.Module | None = None,
    optimizer: Callable[[nn.Module], Any] | None = None,
    before_epoch: Callable[[LossLensWriter, Any, int], None] = lambda _writer, _optimizer, _epoch: None,
    change_loss: Callable[[Tensor], Tensor] = lambda loss: loss,
    change_inputs: Callable[[Tensor, int], Tensor] = lambda x, _step: x,
    steps: bool | int = True,
    watch_model: bool = True,
) -> Run:
    """Trains on ten overlapping clouds and reads the recording.

    Args:
        directory: where it is recorded.
        epochs, batch_size, lr: of the training; 50 batches an epoch at 32.
        model: what is trained, by default a small MLP.
        optimizer: makes it from the model, by default SGD.
        before_epoch: called with (writer, optimizer, epoch) after the epoch before was left.
        change_loss: what is minimised in place of the loss.
        change_inputs: what the model is given, by (inputs, step).
        steps: whether `optimizer.step()` is called; a number: after every so many epochs, and in no batch.
        watch_model: whether the writer is told of the model.
    """
    torch.manual_seed(0)
    x, y, _, _ = dataset("gaussian")
    net = model or nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    made = optimizer(net) if optimizer else torch.optim.SGD(net.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    step = 0
    with LossLensWriter(str(directory)) as writer:
        if watch_model:
            writer.watch(net, made, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=True))
        for epoch in range(epochs):
            before_epoch(writer, made, epoch)
            if not isinstance(steps, bool) and epoch and epoch % steps == 0:
                made.step()
                made.zero_grad()
            for inputs, targets in loader:
                if isinstance(steps, bool):
                    made.zero_grad()
                loss = change_loss(criterion(net(change_inputs(inputs, step)), targets))
                loss.backward()
                if steps is True:
                    made.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
    return load_runs(directory)["."]
