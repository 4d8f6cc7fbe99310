"""A state that is loaded into a model is noted once, however the model is called and through whom it is loaded."""

import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes

WRAPPED = {
    "plain": lambda model: model,
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "parallel": nn.DataParallel,
}


@pytest.mark.parametrize("through", ["the outer module", "the user's own"])
@pytest.mark.parametrize("how", WRAPPED)
def test_a_restore_is_seen(how, through, recorded):
    torch.manual_seed(0)
    one, model, criterion = recorded(), mlp(), nn.CrossEntropyLoss()
    called = WRAPPED[how](model)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    one.writer.watch(called, optimizer, criterion=criterion)
    batches = one.writer.wrap(loader(two_classes(40), 10))
    for epoch in range(2):
        if epoch:
            loaded = called if through == "the outer module" else model
            loaded.load_state_dict(loaded.state_dict())
        for inputs, targets in batches:
            optimizer.zero_grad()
            criterion(called(inputs), targets).backward()
            optimizer.step()
    (event,) = events(one.run(), "restore")
    assert (event.batch, event.fields["what"], event.fields["class"]) == (4, "model", "Sequential")
