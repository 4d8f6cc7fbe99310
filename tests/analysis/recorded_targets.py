"""Real little trainings on digits or numbers whose targets, classes or sources may change by epoch, recorded by the writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.store.run import Run
from tests.toys import build_model, dataset

Change = Callable[[int, Tensor, int], Tensor]
"""(sample id, target, epoch) -> the target that the data set gives."""


class _Samples(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor, change: Change | None) -> None:
        self.x, self.y, self.change, self.epoch = x, y, change, 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.x[i], self.y[i] if self.change is None else self.change(i, self.y[i], self.epoch)


def record(
    directory: Path,
    *,
    data: str = "digits",
    samples: int = 1400,
    model: str = "mlp",
    lr: float = 2e-3,
    batch_size: int = 32,
    epochs: int = 10,
    seed: int = 0,
    drop_last: bool = False,
    change: Change | None = None,
    in_loop: Callable[[Tensor, int], Tensor] | None = None,
    weights: Callable[[Tensor, int], Tensor] | None = None,
    source: Callable[[int, int], str] | None = None,
    noted: int | None = None,
) -> Run:
    """Trains with Adam and reads the recording.

    Args:
        directory: of the run.
        change: what the data set does to a target; fingerprints see it.
        in_loop: (targets, epoch) -> what the loss is given.
        weights: (targets, epoch) -> of each sample, for drawing with replacement; without it epochs are shuffled.
        source: (batch, epoch) -> name of the data source that is logged.
        noted: epoch before which a `config_change` is noted.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, _, _ = dataset(data, 1600)
    x, y = x[:samples], y[:samples]
    net = build_model(model, x, y)
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss() if y.dtype == torch.long else nn.MSELoss()
    given = _Samples(x, y, change)

    def loader_of(epoch: int) -> DataLoader[tuple[Tensor, Tensor]]:
        if weights is None:
            return DataLoader(given, batch_size=batch_size, shuffle=True, drop_last=drop_last)
        drawn = WeightedRandomSampler(weights(y, epoch).double().tolist(), len(y))
        return DataLoader(given, batch_size=batch_size, sampler=drawn, drop_last=drop_last)

    with LossLensWriter(str(directory)) as writer:
        writer.watch(net, opt, criterion=criterion)
        loader = writer.wrap(loader_of(0))
        for epoch in range(epochs):
            given.epoch = epoch
            if weights is not None:
                loader = writer.wrap(loader_of(epoch))
            if noted == epoch:
                writer.note("other labels", kind="config_change")
            for index, (inputs, targets) in enumerate(loader):
                wanted = targets if in_loop is None else in_loop(targets, epoch)
                output = net(inputs)
                loss = criterion(output if y.dtype == torch.long else output.squeeze(1), wanted)
                named = {} if source is None else {"source": source(index, epoch)}
                writer.log_batch(loss, **named)
                opt.zero_grad()
                loss.backward()
                opt.step()
    (run,) = load_runs(str(directory)).values()
    return run
