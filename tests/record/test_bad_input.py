"""What users do by mistake: it is said where they did it, or it does no harm."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.training import loader, two_classes


def test_a_loss_that_requires_grad_is_not_held(recorded):
    one = recorded()
    weight = torch.ones(3, requires_grad=True)
    for step in range(4):
        loss = (weight * step).sum()
        one.writer.log_batch(loss, step=step)
        loss.backward()
    assert weight.grad.tolist() == [6.0, 6.0, 6.0]
    assert one.run().loss.tolist() == [0.0, 3.0, 6.0, 9.0]


def test_a_tensor_of_losses_is_taken_only_where_it_is_said_to_be_one(recorded):
    one = recorded()
    losses = torch.linspace(0, 1, 128)
    for wrong in (losses, torch.ones(128, 1), torch.ones(0), torch.ones(2)):
        with pytest.raises(ValueError, match=r"expects one number, got a tensor of shape .*per_sample"):
            one.writer.log_batch(wrong)
    one.writer.log_batch(losses.mean(), per_sample=losses)
    one.writer.log_batch(torch.ones(1, 1), per_sample=losses.clone().requires_grad_())
    run = one.run()
    np.testing.assert_allclose(run.loss, [0.5, 1.0])
    assert run.float("batch_size").tolist() == [128, 128]
    np.testing.assert_array_equal(run.ragged["per_sample"].values.reshape(2, -1), losses.expand(2, -1))


def test_an_empty_batch(recorded):
    one = recorded()
    one.writer.log_batch(1.0, inputs=torch.ones(0, 3), targets=torch.ones(0, dtype=torch.long), sample_ids=[], per_sample=[])
    one.writer.log_batch(2.0)
    run = one.run()
    assert run.loss.tolist() == [1.0, 2.0]
    assert len(run.ragged["sample_ids"][0]) == 0


def test_steps_that_go_back_are_kept_as_they_are(recorded):
    one = recorded()
    steps = [5, 6, 3, 4, 4, 0]
    for step in steps:
        one.writer.log_batch(float(step), step=step)
    run = one.run()
    assert run.step.tolist() == steps
    assert run.loss.tolist() == [5, 6, 3, 4, 4, 0]
    assert run.superseded == 0


@pytest.mark.parametrize("tag", ["a/b/c", "Verlust/Übung ü", "損失/訓練", "loss\t\n", "/", "x" * 3000, "a b\\c%2F?&#"])
def test_tags_of_every_kind(tag, tmp_path):
    with warnings.catch_warnings(), LossLensWriter(str(tmp_path / "run"), loss_tag=tag) as writer:
        warnings.simplefilter("error")
        for step in range(5):
            writer.add_scalar(tag, step / 4, step)
            writer.note(tag, path=tag)
    run = load_runs(tmp_path)["run"]
    assert run.loss.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert run.facts["loss_source"] == f"scalar:{tag}"
    assert [event.text for event in run.events] == [tag] * 5


def test_two_writers_at_once_in_one_directory(tmp_path):
    """Two sessions: the one that began later has the steps from its first batch on, and nothing is damaged."""
    first, second = LossLensWriter(str(tmp_path)), LossLensWriter(str(tmp_path))
    for step in range(600):
        first.log_batch(step / 8, step=step)
        if step >= 400:
            second.log_batch(-step / 8, step=step)
    assert len(list(tmp_path.glob("*.tail"))) == 2  # the second did not take the first one's for that of a dead process
    first.close()
    second.close()
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == list(range(600))
    np.testing.assert_array_equal(run.loss, [step / 8 if step < 400 else -step / 8 for step in range(600)])
    assert run.superseded == 200
    assert [session["batches"] for session in run.sessions] == [600, 200]
    assert run.problems == ()
    assert list(tmp_path.glob("*.tail")) == []


def test_everything_after_close_does_nothing(tmp_path):
    model, criterion = nn.Linear(8, 2), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer = LossLensWriter(str(tmp_path))
        writer.watch(model, optimizer, criterion=criterion)
        wrapped = writer.wrap(loader(two_classes()))
        for epoch in range(2):
            for inputs, targets in wrapped:
                optimizer.zero_grad()
                criterion(model(inputs), targets).backward()
                optimizer.step()
                if epoch == 0 and writer._recorder is not None and len(load_runs(tmp_path)["."]) >= 3:
                    writer.close()
                    writer.close()
        for call in (
            lambda: writer.log_batch(1.0),
            lambda: writer.log_validation(1.0),
            writer.set_probe,
            writer.end_epoch,
            writer.flush,
            writer.close,
        ):
            call()
    run = load_runs(tmp_path)["."]
    assert 3 <= len(run) <= 4
    assert run.sessions[0]["closed"]
    assert optimizer._optimizer_step_pre_hooks == {}
    assert model._forward_hooks == {}
    assert criterion._forward_hooks == {}


def test_a_wrong_argument_is_refused_after_close_too(tmp_path):
    writer = LossLensWriter(str(tmp_path))
    writer.close()
    with pytest.raises(TypeError, match="expects a number"):
        writer.log_batch("x")
