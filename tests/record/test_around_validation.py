import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


def train(one, touch=None, epochs=3, **kwargs):
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    batches = one.writer.wrap(loader(two_classes(), shuffle=True, **kwargs))
    held_out = one.writer.wrap(loader(two_classes(40, seed=1)), split="val")
    for epoch in range(epochs):
        for inputs, targets in batches:
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for inputs, targets in held_out:
                criterion(model(inputs), targets)
            if touch == epoch:
                model[0].weight[0, 0] += 1e-6
        model.train()
    return one.run()


@pytest.mark.parametrize("touch", [None, 1])
def test_the_weights_at_both_ends_of_a_validation_and_at_the_next_epoch(touch, recorded):
    run = train(recorded(), touch)
    begins, ends, epochs = (events(run, kind) for kind in ("validation_begin", "validation_end", "epoch_begin"))
    assert len(begins) == len(ends) == len(epochs) == 3
    assert [b.fields["parameters"] == e.fields["parameters"] for b, e in zip(begins, ends, strict=True)] == [True] * 3
    kept = [e.fields["parameters"] == after.fields["parameters"] for e, after in zip(ends, epochs[1:], strict=False)]
    assert kept == [touch != 0, touch != 1]
    assert len({b.fields["parameters"] for b in begins}) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_workers_were_seeded_with(workers, recorded):
    run = train(recorded(), epochs=2, num_workers=workers)
    loaders = [event.fields["loader"] for event in events(run, "epoch_end")]
    assert [("worker_seed" in facts) for facts in loaders] == [bool(workers)] * 2
    if workers:
        assert loaders[0]["worker_seed"] != loaders[1]["worker_seed"]
