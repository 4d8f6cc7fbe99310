import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


def train(one, criterion_of, *, grant=None, epochs=4):
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    if grant is not None:  # nearly every step is a plain one
        cadence = one.writer._recorder.steps.cadence._dense
        cadence._grant, cadence._purses = grant, dict.fromkeys(cadence._purses, grant)
    for epoch in range(epochs):
        now = criterion_of(epoch, criterion)
        for step, (inputs, targets) in enumerate(one.writer.wrap(loader(two_classes(), 2, shuffle=True))):
            loss = now(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            one.writer.add_scalar("Loss/train", loss.item(), epoch * 60 + step)
    return [event.fields["epoch"] for event in events(one.run(), "note") if event.fields.get("about") == "criterion"]


@pytest.mark.parametrize("grant", [None, 0.0])
@pytest.mark.parametrize(
    ("other", "noted"),
    [
        (lambda epoch: epoch >= 2, [2]),
        (lambda _: False, []),
        (lambda _: True, []),
        (lambda epoch: epoch in (1, 3), [1, 3]),
    ],
)
def test_a_criterion_that_somebody_replaced_is_noted(other, noted, grant, recorded):
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    assert train(recorded(), lambda epoch, first: smooth if other(epoch) else first, grant=grant) == noted
