"""The probe tells apart what changed at an epoch boundary: each fault in a real training, beside its healthy twin."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.record.training import events

MODES = ("train_eval", "train_batchstat", "heldout_eval", "heldout_batchstat")
EPOCHS, BATCHES = 3, 10


def net():
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 2))


class Sorted(torch.utils.data.Sampler):
    """In the last epoch, samples come in the order of their ids: those with a wrong label first."""

    def __init__(self, samples):
        self.samples, self.epoch = samples, 0

    def __len__(self):
        return self.samples

    def __iter__(self):
        self.epoch += 1
        return iter(range(len(self)) if self.epoch == EPOCHS else torch.randperm(len(self)).tolist())


class Training:
    """Three epochs of ten batches with a validation after each; a fault comes between the second and the third."""

    def __init__(self, recorded, *, between=None, validation_mode=False, forget=False, ordered=False):
        torch.manual_seed(0)
        inputs = torch.randn(200, 8) + 2
        targets = (inputs.sum(1) > 16).long()
        targets[:20] = 1 - targets[:20]
        model, criterion = net(), nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.one = one = recorded()
        one.writer.watch(model, optimizer, criterion=criterion)
        data = TensorDataset(inputs, targets)
        one.writer.set_probe((inputs[:100], targets[:100]), (inputs[100:] + 0.1, targets[100:]))
        one.writer._watch.probe.budget.share = 100.0  # every point is wanted, though an epoch takes milliseconds
        order = {"sampler": Sorted(len(inputs))} if ordered else {"shuffle": True}
        loader = one.writer.wrap(DataLoader(data, 200 // BATCHES, **order))
        held_out = one.writer.wrap(DataLoader(TensorDataset(inputs - 3, targets), 50), split="val")
        for epoch in range(EPOCHS):
            fault = epoch == EPOCHS - 2
            if epoch < EPOCHS - 1 or not forget:
                model.train()
            for x, y in loader:
                loss = criterion(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            model.train(validation_mode and fault)
            with torch.no_grad():
                for x, y in held_out:
                    criterion(model(x), y)
                if fault and between is not None:
                    between(model, optimizer)
        self.run = one.run()
        self.points = {(e.fields["when"], e.fields["epoch"]): e.fields for e in events(self.run, "probe")}

    def at(self, when, epoch):
        return tuple(self.points[when, epoch][mode] for mode in MODES)

    def weights(self, when, epoch):
        return self.points[when, epoch]["parameters"], self.points[when, epoch]["updates"]

    @property
    def jump(self):
        """Rise of the training loss at the last boundary, in deviations of the batches before it."""
        before, after = self.run.loss[BATCHES + 3 : 2 * BATCHES], self.run.loss[2 * BATCHES]
        return (after - before.mean()) / before.std()


@pytest.fixture
def healthy(recorded):
    return Training(recorded)


def test_at_a_healthy_boundary_nothing_changes_until_the_first_update(healthy):
    for epoch in (0, 1):
        points = [("t0", epoch), ("before_validation", epoch), ("after_validation", epoch), ("t1", epoch + 1)]
        assert len({healthy.at(*point) for point in points}) == 1
        assert {healthy.weights(*point) for point in points} == {(healthy.weights("t0", epoch)[0], 10 * (epoch + 1))}
        later = [healthy.weights(f"u{n}", epoch + 1) for n in (1, 2, 5)]
        assert [updates for _, updates in later] == [10 * (epoch + 1) + n for n in (1, 2, 5)]
        assert len({*[weights for weights, _ in later], healthy.weights("t0", epoch)[0]}) == 4
        assert len({healthy.at("t0", epoch)[0], *[healthy.at(f"u{n}", epoch + 1)[0] for n in (1, 2, 5)]}) == 4
    assert ("u1", 0) in healthy.points  # before it nobody knew what the criterion gets
    assert abs(healthy.jump) < 3


def test_touching_the_weights_in_a_validation_shows_without_an_update(recorded, healthy):
    def touch(model, optimizer):
        model[-1].weight.mul_(1.001)

    faulty = Training(recorded, between=touch)
    assert faulty.weights("t0", 1) == healthy.weights("t0", 1)
    assert faulty.weights("t1", 2)[0] != faulty.weights("t0", 1)[0]
    assert faulty.weights("t1", 2)[1] == faulty.weights("t0", 1)[1]
    assert all(after != before for after, before in zip(faulty.at("t1", 2), faulty.at("t0", 1), strict=True))


def test_a_forgotten_train_does_not_change_the_probe(recorded, healthy):
    faulty = Training(recorded, forget=True)
    assert faulty.run.float("train_mode").tolist() == [1.0] * 20 + [0.0] * 10
    for point in [("t0", 1), ("after_validation", 1), ("t1", 2)]:
        assert faulty.at(*point) == healthy.at("t0", 1)
        assert faulty.weights(*point) == healthy.weights("t0", 1)
    assert faulty.run.loss[20] != healthy.run.loss[20]


def test_a_jump_of_the_learning_rate_shows_only_after_updates(recorded, healthy):
    def raise_rate(model, optimizer):
        optimizer.param_groups[0]["lr"] = 3.0

    faulty = Training(recorded, between=raise_rate)
    for point in [("t0", 1), ("after_validation", 1), ("t1", 2)]:
        assert faulty.at(*point) == healthy.at("t0", 1)
        assert faulty.weights(*point) == healthy.weights("t0", 1)
    base = faulty.at("t0", 1)[0]
    for n in (1, 2, 5):
        assert abs(faulty.at(f"u{n}", 2)[0] - base) > 3 * abs(healthy.at(f"u{n}", 2)[0] - base)


def test_polluted_running_statistics_show_in_evaluation_mode_only(recorded, healthy):
    faulty = Training(recorded, validation_mode=True)
    before, after = faulty.points["before_validation", 1], faulty.points["after_validation", 1]
    for batch in ("train", "heldout"):
        assert after[f"{batch}_batchstat"] == before[f"{batch}_batchstat"]
        assert after[f"{batch}_eval"] > before[f"{batch}_eval"] + 0.1
    assert after["parameters"] == before["parameters"]
    assert faulty.at("t1", 2) == faulty.at("after_validation", 1)


def test_a_change_of_the_order_moves_the_loss_and_not_the_probe(recorded, healthy):
    faulty = Training(recorded, ordered=True)
    assert abs(faulty.jump) > 5
    assert faulty.at("t1", 2) == faulty.at("t0", 1)
    assert faulty.weights("t1", 2) == faulty.weights("t0", 1)


@pytest.mark.parametrize("seconds", [0.02, 0.8])
def test_one_evaluation_that_exceeds_the_budget_is_the_last_one(seconds, recorded, monkeypatch):
    torch.manual_seed(0)
    now = [0.0]
    monkeypatch.setattr("tb_losslens.record.probe.probe.perf_counter", lambda: now[0])
    one, model, criterion = recorded(), net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    data = TensorDataset(torch.randn(40, 8), torch.randint(0, 2, (40,)))
    one.writer.set_probe(data.tensors, data.tensors, loss_fn=nn.functional.cross_entropy)
    probe = one.writer._watch.probe
    evaluate = probe._evaluate

    def slowly():
        now[0] += seconds
        return evaluate()

    probe._evaluate = slowly
    loader = one.writer.wrap(DataLoader(data, 4))
    held_out = one.writer.wrap(DataLoader(data, 20), split="val")
    for _ in range(4):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            for x, y in held_out:
                criterion(model(x), y)
    run = one.run()
    points = ["t1", "u1", "u2", "u5", "t0", "before_validation", "after_validation"]
    if seconds < 0.5:
        assert [e.fields["when"] for e in events(run, "probe")][: 2 * len(points)] == 2 * points
        return
    assert [e.fields["when"] for e in events(run, "probe")] == points[:1]
    (note,) = events(run, "note")
    assert "one evaluation takes 0.8 s" in note.text
    assert note.fields["about"] == "probe"
