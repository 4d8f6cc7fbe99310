"""Real little trainings through `LossLensWriter`: for causes that need what only the recorder sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.store.run import Run
from tests.toys import build_model, build_optimizer, dataset

Change = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(sample id, input, target) -> what the data set gives."""


class _Samples(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor, change: Change | None) -> None:
        self.x, self.y, self.change = x, y, change

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return (self.x[i], self.y[i]) if self.change is None else self.change(i, self.x[i], self.y[i])


def record(
    directory: Path,
    *,
    data: str = "digits",
    samples: int = 1000,
    model: str | nn.Module = "mlp",
    optimizer: str = "adam",
    lr: float = 2e-3,
    batch_size: int = 32,
    epochs: int = 8,
    seed: int = 0,
    shuffle: bool = True,
    drop_last: bool = False,
    change: Change | None = None,
    criterion: nn.Module | None = None,
    loss_of: Callable[[Tensor, int], Tensor] | None = None,
    skip_nonfinite: bool = False,
    watch: bool = True,
) -> Run:
    """Trains on the first `samples` of a data set of `tests.toys`, and loads what was recorded.

    Args:
        directory: of the run.
        change: what the data set gives for a sample.
        criterion: by default the mean of the usual loss.
        loss_of: (what the criterion returns, samples) -> the loss that is minimised and handed to `log_batch`.
        skip_nonfinite: leave out the step where the loss is not finite, as guarded loops do.
        watch: let the recorder see the model.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, _, _ = dataset(data, max(samples, 1600))
    net = model if isinstance(model, nn.Module) else build_model(model, x, y)
    opt = build_optimizer(optimizer, net, lr)
    classes = y.dtype == torch.long
    criterion = criterion or (nn.CrossEntropyLoss() if classes else nn.MSELoss())
    with LossLensWriter(str(directory)) as writer:
        if watch:
            writer.watch(net, opt, criterion=criterion)
        given = _Samples(x[:samples], y[:samples], change)
        loader = writer.wrap(DataLoader(given, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last))
        for _ in range(epochs):
            for inputs, targets in loader:
                output = net(inputs)
                loss = criterion(output if classes else output.squeeze(1), targets)
                loss = loss if loss_of is None else loss_of(loss, len(targets))
                writer.log_batch(loss)
                if skip_nonfinite and not torch.isfinite(loss):
                    continue
                opt.zero_grad()
                loss.backward()
                opt.step()
    (run,) = load_runs(str(directory)).values()
    return run
