"""Which of a model's arguments is its input."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.record.batch import first_input

X, MASK, STATE = torch.rand(4, 3), torch.ones(4, 3, dtype=torch.bool), torch.rand(1, 4, 8)
TOKENS, TIMES = torch.zeros(5, 4, dtype=torch.long), torch.zeros(4, dtype=torch.long)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((X,), X),
        (((X,), {"state": STATE}), X),
        ((MASK, X), X),
        ((TIMES, X), X),  # a number for each sample is no input
        ((TOKENS, STATE), None),
        (((), {"input_ids": TOKENS, "past": (STATE, STATE)}), None),
        ((TOKENS,), None),
        ((), None),
    ],
)
def test_the_first_floating_argument_unless_tokens_come_before_it(arguments: object, found: Tensor | None) -> None:
    assert first_input(arguments) is found


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.net, self.head = nn.Embedding(9, 8), nn.GRU(8, 8), nn.Linear(8, 9)

    def forward(self, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        out, state = self.net(self.embed(tokens), state)
        return self.head(out), state


def test_a_state_that_is_carried_is_not_taken_for_inputs(tmp_path: Path) -> None:
    model, criterion = Recurrent(), nn.CrossEntropyLoss()
    optimizer, state = torch.optim.SGD(model.parameters(), lr=0.1), torch.zeros(1, 4, 8)
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        for _ in range(20):
            tokens = torch.randint(0, 9, (5, 4))
            output, new = model(tokens, state)
            loss = criterion(output.flatten(0, 1), tokens.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state = new.detach()
            writer.log_batch(loss, hidden=state)
    run = load_runs(tmp_path)["."]
    assert run.has("hidden_norm")
    assert not run.has("input_mean")
    assert "input_sketch" not in run.ragged or not len(run.ragged["input_sketch"].values)
