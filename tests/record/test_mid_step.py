"""What is told between two moments of a step costs that step nothing, and makes no row of its own."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes

CALLS = {
    "note": lambda writer: writer.note("odd"),
    "log_validation": lambda writer: writer.log_validation(1.0),
    "flush": lambda writer: writer.flush(),
}


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "bare"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("after", ["forward", "criterion", "backward", "step"])
def test_each_batch_is_one_row_with_its_loss(after, call, wrapped, recorded):
    torch.manual_seed(0)
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    batches, losses = loader(two_classes(), 10, shuffle=True), []
    batches = one.writer.wrap(batches) if wrapped else batches

    def at(moment):
        if moment == after and len(losses) % 4 == 2:
            CALLS[call](one.writer)

    for _ in range(4):
        for inputs, targets in batches:
            optimizer.zero_grad()
            output = model(inputs)
            at("forward")
            loss = criterion(output, targets)
            at("criterion")
            loss.backward()
            at("backward")
            optimizer.step()
            at("step")
            losses.append(loss.item())
    run = one.run()
    assert run.loss.tolist() == losses
    assert np.isfinite(run.float("grad_norm_at_step")[:4]).all()
    if call == "note":  # before the row whose step is on
        assert [event.batch for event in events(run, "note")] == [n + (after == "step") for n in range(2, 48, 4)]
    assert len(run.validations) == (12 if call == "log_validation" else 0)
