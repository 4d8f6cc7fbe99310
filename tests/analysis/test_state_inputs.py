"""A net that is given tokens and its own state: the state is the first floating input, and no data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.state_inputs import without_state
from tb_losslens.store.run import Run

SYMBOLS, STREAMS, WINDOW, BATCHES = 27, 16, 8, 100


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.net, self.head = nn.Embedding(SYMBOLS, 16), nn.GRU(16, 48, batch_first=True), nn.Linear(48, SYMBOLS)

    def forward(self, text: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        out, state = self.net(self.embed(text), state)
        return self.head(out), state


def _text(rng: np.random.Generator) -> Tensor:
    """Streams that stay for some hundred symbols with three of them."""
    out = np.zeros((STREAMS, WINDOW * BATCHES + 1), dtype=np.int64)
    for stream in out:
        begin = 0
        while begin < len(stream):
            end = begin + int(rng.integers(200, 500))
            stream[begin:end] = 3 * rng.integers(9) + rng.choice(3, size=len(stream[begin:end]), p=[0.6, 0.3, 0.1])
            begin = end
    return torch.tensor(out)


@cache
def _read(*, told: bool, keeps: bool) -> Run:
    """8 passes over a text in its order; `told`: the state is handed to the writer; `keeps`: it goes on into the next pass."""
    torch.manual_seed(5)
    torch.set_num_threads(1)
    text, model, criterion = _text(np.random.default_rng(5)), Reader(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    state = torch.zeros(1, STREAMS, 48)
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(model, optimizer, criterion=criterion)
            for epoch in range(8):
                writer.start_epoch(epoch)
                state = state if keeps else torch.zeros(1, STREAMS, 48)
                for i in range(0, WINDOW * BATCHES, WINDOW):
                    given = state.detach()
                    logits, state = model(text[:, i : i + WINDOW], given)
                    loss = criterion(logits.flatten(0, 1), text[:, i + 1 : i + WINDOW + 1].flatten())
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if told:
                        writer.log_batch(loss, hidden=given)
                    else:
                        writer.log_batch(loss)
                writer.end_epoch()
        return next(iter(load_runs(directory).values()))


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_a_state_that_the_net_learns_is_no_input_that_changes(*, told: bool, keeps: bool) -> None:
    run = _read(told=told, keeps=keeps)
    assert run.has("input_mean")
    assert not without_state(run).has("input_mean")
    assert not [(f.cause, f.text) for f in diagnose(run).findings if f.kind == "fault"]


def test_no_state_in_the_first_batch() -> None:
    """`state = None`: the net is given tokens alone."""
    run = _read(told=False, keeps=False)
    is_first = np.arange(len(run)) == 0
    columns = {**run.columns, **{name: np.where(is_first, np.nan, run.float(name)) for name in ("input_mean", "input_std")}}
    assert not without_state(replace(run, columns=columns)).has("input_mean")
    columns["grad_norm"] = np.where(is_first, np.nan, run.float("grad_norm"))  # `watch` came later
    assert without_state(replace(run, columns=columns)).has("input_mean")


def test_data_of_a_recurrent_net_stay() -> None:
    """A window of numbers, and a state that is told beside it."""
    rng = np.random.default_rng(0)
    columns = {
        "loss": np.ones(80), "step": np.arange(80), "input_mean": rng.normal(size=80) / 30,
        "input_std": 1 + rng.normal(size=80) / 30, "hidden_norm": 4 + rng.normal(size=80) / 30,
    }  # fmt: skip
    run = Run("run", columns, facts={"model": {"recurrent": 1}})
    assert without_state(run) is run
    given = np.sqrt(768 * (columns["input_mean"] ** 2 + columns["input_std"] ** 2))
    same = replace(run, columns={**columns, "hidden_norm": given})
    assert not without_state(same).has("input_mean")
    of_loader = replace(same, facts={**same.facts, "inputs_of_loader": True})
    assert without_state(of_loader) is of_loader
