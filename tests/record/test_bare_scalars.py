"""A writer that takes the place of a `SummaryWriter` and is told nothing but scalars."""

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.bare_scalars import BareScalars
from tests.record.training import events, loader, mlp, two_classes


def train(one, *, tags=("Loss/train",), before_step=False, every=1, epochs=3, after=None):
    """A loop with unwrapped data; gives the run and the loss and LR of each batch."""
    torch.manual_seed(0)
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    losses, rates, step = [], [], 0

    def log():
        if step % every == every - 1:
            for share, tag in enumerate(tags, 1):
                one.writer.add_scalar(tag, losses[-1] / share, 10 * step)

    for epoch in range(epochs):
        total = 0.0
        for inputs, targets in loader(two_classes(), shuffle=True):
            loss = criterion(model(inputs), targets)
            losses.append(loss.item())
            total += loss.item()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()
            loss.backward()
            if before_step:
                log()
            optimizer.step()
            if not before_step:
                log()
            scheduler.step()
            step += 1
        if after is not None:
            after(epoch, total / 6)
    return one.run(), np.array(losses), np.array(rates)


@pytest.mark.parametrize("before_step", [False, True])
@pytest.mark.parametrize("tags", [("loss",), ("train/loss", "train/loss_cls"), ("total_loss", "loss_box", "acc")])
def test_a_loss_that_is_written_once_a_step_gives_a_row_each(tags, before_step, recorded):
    run, losses, rates = train(recorded(), tags=tags, before_step=before_step)
    assert run.loss.tolist() == losses.tolist()
    assert run.step.tolist() == list(range(0, 180, 10))
    assert run.facts["loss_source"] == f"scalar:{tags[0]}"
    np.testing.assert_allclose(run.float("lr")[3:], rates[3:])
    assert np.isfinite(run.float("grad_norm_at_step")[3:]).all()
    assert not events(run, "epoch_begin")


def test_a_held_out_loss_beside_it_is_a_validation(recorded):
    one = recorded()
    run, losses, _ = train(one, after=lambda epoch, mean: one.writer.add_scalar("Loss/val", 7.0 + epoch, epoch))
    assert run.loss.tolist() == losses.tolist()
    assert [(validation.batch, validation.value) for validation in run.validations] == [(6, 7.0), (12, 8.0), (18, 9.0)]


@pytest.mark.parametrize("kwargs", [{"tags": (), "mean": True}, {"every": 2}, {"tags": ("Loss/a", "Loss/a")}])
def test_what_is_not_written_once_a_step_gives_no_rows_and_the_line_that_would(kwargs, recorded):
    one = recorded()
    mean = kwargs.pop("mean", False)
    log = (lambda epoch, mean: one.writer.add_scalar("Loss/train", mean, epoch)) if mean else None
    with pytest.warns(RuntimeWarning, match=r"no batch was recorded: 'Loss/\w+' .*writer.wrap\(train_loader\).*log_batch"):
        run, _, _ = train(one, **kwargs, after=log)
    assert len(run) == 0


def test_one_step_between_writes_is_what_tells():
    bare = BareScalars()
    for count in range(2):
        bare.stepped(1)
        assert bare.write("loss", float(count), count) is None
    bare.stepped(1)
    bare.stepped(2)  # another optimiser, in turn
    assert bare.write("loss", 2.0, 2) == [{"loss": (float(count), count)} for count in range(3)]
    assert bare.found
    assert bare.after_step


def test_a_gap_begins_the_count_anew():
    bare = BareScalars()
    for count in (1, 2, 4, 5):
        while max(bare._steps.values(), default=0) < count:
            bare.stepped(1)
        assert bare.write("loss", 0.0, count) is None
    bare.stepped(1)
    assert [scalars["loss"][1] for scalars in bare.write("loss", 0.0, 6)] == [4, 5, 6]
