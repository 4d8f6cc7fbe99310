"""Tokens that become others inside an epoch: integers have no level, but samples that came back different are counted."""

from __future__ import annotations

from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.input_count import begun_at_rise
from tb_losslens.store.run import Epoch, Run

AT = 275
"""Batches before the change; epochs have 60."""


class Texts(Dataset[tuple[Tensor, Tensor]]):
    """Words of four kinds of text; `offset` is added to each word."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        kinds = rng.dirichlet(np.full(60, 0.5), size=4)
        labels = rng.integers(0, 4, 960)
        words = [rng.choice(60, 12, p=0.6 * kinds[label] + 0.4 / 60) for label in labels]
        self.words, self.labels, self.offset = torch.tensor(np.stack(words)), torch.tensor(labels), 0

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return (self.words[index] + self.offset) % 60, self.labels[index]


@pytest.mark.parametrize("replacement", [False, True])
def test_another_vocabulary_inside_an_epoch(*, replacement: bool) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    texts = Texts()
    model = nn.Sequential(nn.EmbeddingBag(60, 16), nn.Linear(16, 4))
    optimizer, criterion = torch.optim.AdamW(model.parameters(), lr=1e-2), nn.CrossEntropyLoss()
    sampler = WeightedRandomSampler(torch.ones(960).tolist(), 960) if replacement else None
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, optimizer, criterion=criterion)
            loader = writer.wrap(DataLoader(texts, batch_size=16, sampler=sampler, shuffle=None if replacement else True))
            step = 0
            for _ in range(8):
                for words, labels in loader:
                    optimizer.zero_grad()
                    criterion(model(words), labels).backward()
                    optimizer.step()
                    step += 1
                    texts.offset = 7 if step >= AT else 0
        diagnosis = diagnose(next(iter(load_runs(directory).values())))
    first = diagnosis.findings[0]
    assert (first.cause, first.kind, first.boundaries, first.explains_jump) == ("input_shift", "fault", (), True)
    assert abs(first.steps[0] - AT) <= 2
    assert not [f for f in diagnosis.findings if f.kind == "unknown"]


@pytest.mark.parametrize(("changed", "found"), [(400, True), (405, True), (250, False), (960, False), (0, False)])
def test_as_many_must_have_changed_as_come_from_there_on(changed: int, found: bool) -> None:
    rng = np.random.default_rng(0)
    loss = 0.3 * (1 + 0.1 * rng.normal(size=480)) * (1 + 4 * (np.arange(480) >= AT))
    run = Run.from_arrays(loss=loss, batch_size=np.full(480, 16), epoch_length=60)
    epoch = Epoch(4, 240, 300, fields={"inputs_compared": 960, "inputs_changed": changed})
    seen = begun_at_rise(run, epoch)
    assert (seen is not None) == found
    assert seen is None or abs(seen[0] - AT) <= 1
    epoch.fields["fingerprinted_batches"] = 60
    assert begun_at_rise(run, epoch) is None  # the samples that were compared need not be spread over the epoch
