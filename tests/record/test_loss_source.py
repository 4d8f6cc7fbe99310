"""Where the loss of a batch comes from, and what is never mistaken for it."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


class Loop:
    """Trains an MLP on a wrapped loader; `each(step, loss)` and `after(epoch, mean)` are the user's logging."""

    def __init__(self, one, *, watch=(), each=None, after=None, epochs=2):
        torch.manual_seed(0)
        self.losses, self.running = [], []
        criterion, model = nn.CrossEntropyLoss(), mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        known = {"model": model, "optimizer": optimizer, "criterion": criterion}
        one.writer.watch(**{name: known[name] for name in watch})
        wrapped = one.writer.wrap(loader(two_classes(), shuffle=True))
        for epoch in range(epochs):
            total = 0.0
            for position, (inputs, targets) in enumerate(wrapped):
                loss = criterion(model(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
                self.losses.append(loss.item())
                self.running.append(total / (position + 1))
                if each is not None:
                    each(len(self.losses) - 1, self)
            if after is not None:
                after(epoch, total / len(wrapped))
        self.run = one.run()

    @property
    def loss(self):
        return self.losses[-1]


def test_log_batch(recorded):
    one = recorded()
    loop = Loop(one, each=lambda step, loop: one.writer.log_batch(loop.loss, step=100 + step))
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.step.tolist() == list(range(100, 112))
    assert loop.run.facts["loss_source"] == "log_batch"


def test_the_criterion(recorded):
    loop = Loop(recorded(), watch=("criterion",))
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.step.tolist() == list(range(12))
    assert loop.run.facts["loss_source"] == "criterion"
    assert not loop.run.has("logged_loss")


@pytest.mark.parametrize("tag", ["Loss/train", "train_loss", "loss"])
def test_a_scalar_written_once_a_batch_is_found(tag, recorded):
    one = recorded()

    def log(step, loop):
        one.writer.add_scalar(tag, loop.loss, 10 * step)
        one.writer.add_scalar("Accuracy/train", 0.5, 10 * step)

    loop = Loop(one, each=log)
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.step.tolist() == list(range(0, 120, 10))
    assert loop.run.facts["loss_source"] == f"scalar:{tag}"


def test_add_scalars(recorded):
    one = recorded()
    loop = Loop(
        one,
        each=lambda step, loop: one.writer.add_scalars("Loss", {"train": loop.loss}, step),
        after=lambda epoch, mean: one.writer.add_scalars("Loss", {"val": 3.0}, epoch),
    )
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.facts["loss_source"] == "scalar:Loss/train"
    assert [validation.value for validation in loop.run.validations] == [3.0, 3.0]


def test_the_named_scalar_among_several(recorded):
    one = recorded(loss_tag="total")

    def log(step, loop):
        one.writer.add_scalar("Loss/kl", -1.0, step)
        one.writer.add_scalar("total", loop.loss, step)

    loop = Loop(one, each=log)
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.facts["loss_source"] == "scalar:total"


def test_two_candidates_are_asked_about_and_not_guessed(recorded):
    one = recorded()

    def log(step, loop):
        one.writer.add_scalar("Loss/a", 1.0, step)
        one.writer.add_scalar("Loss/b", loop.loss, step)

    with pytest.warns(RuntimeWarning, match=r"'Loss/a', 'Loss/b'.*loss_tag"):
        loop = Loop(one, each=log)
    assert len(loop.run) == 12
    assert not loop.run.has("loss")


@pytest.mark.parametrize("tags", [("loss/total", "loss/aux"), ("train/loss", "train/loss_cls")])
def test_the_whole_loss_is_taken_where_its_parts_are_written_too(tags, recorded):
    one = recorded()

    def log(step, loop):
        one.writer.add_scalar(tags[1], 0.25 * loop.loss, step)
        one.writer.add_scalar(tags[0], loop.loss, step)

    loop = Loop(one, each=log)
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.facts["loss_source"] == f"scalar:{tags[0]}"


@pytest.mark.parametrize("tags", [("Loss/a", "Loss/b"), ("loss", "loss_total")])
def test_the_scalar_with_the_values_of_the_criterion_is_the_users_curve(tags, recorded):
    one = recorded()

    def log(step, loop):
        one.writer.add_scalar(tags[0], loop.loss, 10 * step)
        one.writer.add_scalar(tags[1], 3.0, 10 * step)

    loop = Loop(one, watch=("criterion",), each=log)
    assert loop.run.loss.tolist() == loop.losses
    np.testing.assert_allclose(loop.run.float("logged_loss"), loop.losses, rtol=1e-6)
    assert loop.run.step.tolist() == list(range(0, 120, 10))


def test_an_epoch_mean_is_no_loss_of_a_batch(recorded):
    one = recorded()
    with pytest.warns(RuntimeWarning, match=r"no loss was seen in the 6 batches of epoch 0.*log_batch"):
        loop = Loop(one, after=lambda epoch, mean: one.writer.add_scalar("Loss/train", mean, epoch), epochs=3)
    assert len(loop.run) == 18
    assert not loop.run.has("loss")
    assert "loss_source" not in loop.run.facts


@pytest.mark.parametrize("every", [2, 3])
def test_a_scalar_that_is_written_now_and_then_is_said_while_it_can_be_mended(every, recorded):
    one = recorded()

    def log(step, loop):
        if step % every == 0:
            one.writer.add_scalar("Loss/train", loop.loss, step)

    sentence = rf"'Loss/train' was written in {6 // every} of the 6 batches of epoch 0.*log_batch"
    with pytest.warns(RuntimeWarning, match=sentence) as said:
        loop = Loop(one, each=log, epochs=3)
    assert len(said) == 1
    assert np.isfinite(loop.run.loss).tolist() == ([True] + [False] * (every - 1)) * (18 // every)
    assert loop.run.facts["loss_source"] == "scalar:Loss/train"


@pytest.mark.parametrize("tag", ["Loss/val", "val_loss", "testLoss", "eval/loss", "loss_dev"])
def test_a_held_out_loss_is_no_training_loss(tag, recorded):
    one = recorded()
    loop = Loop(
        one,
        each=lambda step, loop: one.writer.add_scalar("Loss/train", loop.loss, step),
        after=lambda epoch, mean: one.writer.add_scalar(tag, 7.0 + epoch, epoch),
    )
    assert loop.run.loss.tolist() == loop.losses
    assert [validation.value for validation in loop.run.validations] == [7.0, 8.0]
    assert [validation.epoch for validation in loop.run.validations] == [0, 1]
    assert [validation.batch for validation in loop.run.validations] == [6, 12]


def test_a_running_mean_beside_the_raw_loss(recorded):
    one = recorded()
    loop = Loop(
        one,
        watch=("model", "optimizer", "criterion"),
        each=lambda step, loop: one.writer.add_scalar("Loss/train", loop.running[-1], step),
    )
    assert loop.run.loss.tolist() == loop.losses
    np.testing.assert_allclose(loop.run.float("logged_loss"), loop.running, rtol=1e-6)
    assert loop.run.facts["loss_source"] == "criterion"


def test_a_scalar_beside_log_batch(recorded):
    one = recorded()

    def log(step, loop):
        one.writer.log_batch(loop.loss)
        one.writer.add_scalar("Loss/train", loop.running[-1], step)

    loop = Loop(one, each=log)
    assert loop.run.loss.tolist() == loop.losses
    np.testing.assert_allclose(loop.run.float("logged_loss")[2:], loop.running[2:], rtol=1e-6)
    assert loop.run.facts["loss_source"] == "log_batch"


def test_a_scalar_written_now_and_then(recorded):
    one = recorded()

    def log(step, loop):
        if step % 3 == 2:
            one.writer.add_scalar("Loss/train", loop.loss, step)

    loop = Loop(one, watch=("criterion",), each=log, epochs=3)
    assert loop.run.loss.tolist() == loop.losses
    assert loop.run.step.tolist() == list(range(18))


def test_steps_that_count_updates_do_not_make_rows_go_back(recorded):
    one = recorded()

    def log(step, loop):
        if step % 4 == 3:
            one.writer.add_scalar("Loss/train", loop.loss, step // 4)

    loop = Loop(one, watch=("criterion",), each=log, epochs=4)
    assert (np.diff(loop.run.step) > 0).all()


def test_the_users_steps_are_kept_where_they_go_back(recorded):
    one = recorded()
    loop = Loop(one, each=lambda step, loop: one.writer.log_batch(loop.loss, step=step % 6))
    assert loop.run.step.tolist() == [*range(6), *range(6)]


def test_a_run_of_one_batch(recorded):
    one = recorded()
    for _ in one.writer.wrap(loader(two_classes(10), 10)):
        one.writer.add_scalar("Loss/train", 0.75, 3)
    run = one.run()
    assert run.loss.tolist() == [0.75]
    assert run.step.tolist() == [3]


def test_several_criteria_are_summed(recorded):
    one = recorded()
    torch.manual_seed(0)
    model, first, second = mlp(), nn.CrossEntropyLoss(), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=[first, second])
    truth = []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        output = model(inputs)
        loss = first(output, targets) + second(output[:, 0], targets.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        truth.append(loss.item())
    np.testing.assert_allclose(one.run().loss, truth, rtol=1e-6)


def test_losses_of_samples(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss(reduction="none")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    truth = []
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        losses = criterion(model(inputs), targets)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        truth.append(losses.detach().numpy().copy())
    run = one.run()
    np.testing.assert_allclose(run.loss, [losses.mean() for losses in truth], rtol=1e-6)
    np.testing.assert_allclose(run.ragged["per_sample"][3], truth[3], rtol=1e-6)


def test_a_loss_that_is_not_finite_is_on_disk_at_once(recorded):
    from tb_losslens.store.logdir import read_recording

    one = recorded()
    for step, loss in enumerate([1.0, float("nan"), 2.0]):
        one.writer.log_batch(loss, step=step)
    one.writer.file_writer.event_writer.flush()
    chunks = read_recording(one.logdir / "run").chunks
    assert sum(chunk.count for chunk in chunks) >= 2
    run = one.run()
    assert np.isnan(run.loss).tolist() == [False, True, False]


def test_everything_that_log_batch_takes(recorded):
    one = recorded()
    for step in range(3):
        one.writer.log_batch(
            torch.tensor(1.5),
            step=torch.tensor(step),
            inputs=torch.tensor([[1.0, 3.0], [float("nan"), 5.0]]),
            targets=np.array([2, 2, 1]),
            per_sample=[1.0, 2.0, 1.5],
            sample_ids=torch.tensor([7, 8, 9]),
            batch_size=3,
            source="web" if step else "books",
            hidden=(torch.ones(4), torch.ones(5)),
            perplexity=np.float32(4.5),
        )
    run = one.run()
    assert run.float("input_mean").tolist() == [3.0] * 3
    np.testing.assert_allclose(run.float("input_std"), np.std([1.0, 3.0, 5.0]))
    assert run.columns["input_nonfinite"].tolist() == [1] * 3
    assert run.ragged["classes"][0].tolist() == [[1, 1], [2, 2]]
    assert run.ragged["sample_ids"][2].tolist() == [7, 8, 9]
    assert run.ragged["per_sample"][1].tolist() == [1.0, 2.0, 1.5]
    assert run.float("hidden_norm").tolist() == [3.0] * 3
    assert run.float("source").tolist() == [0, 1, 1]
    assert run.facts["sources"] == {"books": 0, "web": 1}
    assert run.float("perplexity").tolist() == [4.5] * 3
    assert not events(run, "epoch_end")
