"""Distances of running from batch statistics, against the batch statistics that a hook in each layer computes."""

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.row import Row
from tb_losslens.record.signals.batchnorm import BatchNorms
from tests.record.collecting import Said, call, nothing, started, train


class Truth:
    """Gap and log variance ratio of each call of a layer, from its input and its buffers before the call."""

    def __init__(self, modules):
        self.gaps, self.ratios = [], []
        for i, module in enumerate(modules):
            module.register_forward_pre_hook(lambda module, args, i=i: self.look(i, module, args[0]))

    def begin(self, row, moment):
        if moment == "forward_begins":
            self.gaps.append({})
            self.ratios.append({})

    def look(self, i, module, values):
        channels = values.detach().double().transpose(0, 1).flatten(1)
        mean, var = channels.mean(1), channels.var(1, unbiased=True) + module.eps
        gap = (module.running_mean.double() - mean) / var.sqrt()
        self.gaps[-1][i] = gap.square().mean().sqrt().item()
        self.ratios[-1][i] = ((module.running_var.double() + module.eps) / var).log().mean().item()


def images(step):
    return torch.randn(16, 3, 6, 6, generator=torch.Generator().manual_seed(step)) * 2 + 1


def network(**kwargs):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, **kwargs), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5), nn.BatchNorm1d(5, **kwargs)
    )


def run(model, steps=4, *, said=nothing, loss_of=lambda m, s: m(images(s)).square().sum(), truth=None):
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    parts = started(BatchNorms(lambda: [model], said))
    return train(parts, model, optimizer, loss_of, steps, seen=truth.begin if truth else lambda row, moment: None)


@pytest.mark.parametrize(
    "settings", [{}, {"momentum": 0.01}, {"momentum": 1.0}, {"momentum": None}, {"eps": 0.5}, {"affine": False}]
)
def test_against_the_statistics_of_the_batch_itself(settings):
    model, said = network(**settings), Said()
    truth = Truth([model[1], model[5]])
    rows = run(model, 6, said=said, truth=truth)
    assert said["batchnorm"] == {"names": ["1", "5"], "skipped": {}}
    for row, gaps, ratios in zip(rows, truth.gaps, truth.ratios, strict=True):
        assert row.lists["bn_mean_gap"].dtype == np.float32
        np.testing.assert_allclose(row.lists["bn_mean_gap"], [gaps[0], gaps[1]], rtol=1e-3)
        np.testing.assert_allclose(row.lists["bn_log_var_ratio"], [ratios[0], ratios[1]], rtol=1e-3, atol=1e-4)


def test_settings_and_modes_that_change_in_between():
    model, said = network(), Said()
    truth = Truth([model[1], model[5]])
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    parts = started(BatchNorms(lambda: [model], said))

    def loss_of(m, step):
        return m(images(step)).square().sum()

    for step in range(5):
        if step == 1:
            model[1].eval()
        if step == 2:
            model[1].train()
            model[5].momentum = None
        if step == 3:
            model[5].momentum = 0.0
        if step == 4:
            parts[0].epoch_begins(1)
        (row,) = train(parts, model, optimizer, lambda m, s, step=step: loss_of(m, step), 1, seen=truth.begin)
        known = [step != 1, step < 3]
        assert np.isfinite(row.lists["bn_mean_gap"]).tolist() == known, step
        for i in (0, 1):
            if known[i]:
                assert row.lists["bn_mean_gap"][i] == pytest.approx(truth.gaps[-1][i], rel=1e-3)
    assert said["batchnorm"]["skipped"] == {"5": "its momentum is 0 now"}


def test_frozen_layers_are_skipped_with_the_reason():
    said = Said()
    model = network()
    model[1].eval()
    model[5] = nn.BatchNorm1d(5, track_running_stats=False)
    rows = run(model, said=said)
    assert said["batchnorm"]["skipped"] == {"1": "it is in eval mode now", "5": "it keeps no running statistics"}
    assert all("bn_mean_gap" not in row.lists for row in rows)


def test_statistics_in_half_precision_are_skipped_with_the_reason():
    said = Said()
    model = network().to(torch.bfloat16)
    rows = run(model, said=said, loss_of=lambda m, s: m(images(s).to(torch.bfloat16)).square().sum())
    assert said["batchnorm"]["skipped"]["1"].startswith("its running statistics are kept in torch.bfloat16")
    assert all("bn_mean_gap" not in row.lists for row in rows)


def test_a_layer_called_twice_or_not_at_all_is_unknown():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.once, self.twice, self.never = (nn.BatchNorm1d(3) for _ in range(3))

        def forward(self, values):
            return self.twice(self.twice(self.once(values)) + 1)

    model = Odd()
    truth = Truth([model.once])
    rows = run(model, loss_of=lambda m, s: m(images(s)[:, :, 0, 0]).square().sum(), truth=truth)
    for row, gaps in zip(rows, truth.gaps, strict=True):
        assert np.isnan(row.lists["bn_mean_gap"]).tolist() == [False, True, True]
        assert row.lists["bn_mean_gap"][0] == pytest.approx(gaps[0], rel=1e-3)


def test_lazy_layers_and_models_without_any():
    said = Said()
    model = nn.Sequential(nn.LazyBatchNorm2d())
    parts = started(BatchNorms(lambda: [model], said))
    assert said["batchnorm"]["skipped"] == {"0": "it has no running statistics now"}
    model(images(0))
    truth = Truth([model[0]])
    (row,) = train(
        parts, model, torch.optim.SGD(model.parameters(), 0.1), lambda m, s: m(images(s)).square().sum(), 1, seen=truth.begin
    )
    assert row.lists["bn_mean_gap"][0] == pytest.approx(truth.gaps[0][0], rel=1e-3)
    none, said = nn.Linear(2, 2), Said()
    parts, row = started(BatchNorms(lambda: [none], said)), Row({})
    call(parts, row, "forward_begins", (), {})
    call(parts, row, "forward_ends", None)
    assert said == {}
    assert row.lists == {}


def test_a_layer_that_takes_the_place_of_another_keeps_its_position():
    said, models = Said(), [network()]
    parts = started(BatchNorms(lambda: models, said))
    models[0] = network(momentum=None)
    truth = Truth([models[0][1], models[0][5]])
    model = models[0]
    (row,) = train(
        parts, model, torch.optim.SGD(model.parameters(), 0.1), lambda m, s: m(images(s)).square().sum(), 1, seen=truth.begin
    )
    assert said["batchnorm"]["names"] == ["1", "5"]
    np.testing.assert_allclose(row.lists["bn_mean_gap"], list(truth.gaps[0].values()), rtol=1e-3)


def test_nothing_is_left_behind():
    def trained(watched):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        parts = started(BatchNorms(lambda: [model], nothing)) if watched else ()
        rows = train(parts, model, optimizer, lambda m, s: m(images(s)).square().sum(), 5)
        assert not watched or all(np.isfinite(row.lists["bn_mean_gap"]).all() for row in rows)
        return model.state_dict(), torch.get_rng_state()

    (seen, seen_rng), (plain, plain_rng) = trained(True), trained(False)
    assert all(torch.equal(seen[name], plain[name]) for name in plain)
    assert torch.equal(seen_rng, plain_rng)


def test_a_synchronised_layer_moves_its_statistics_in_the_same_way():
    model, said = nn.SyncBatchNorm.convert_sync_batchnorm(network()), Said()
    assert isinstance(model[1], nn.SyncBatchNorm)
    truth = Truth([model[1], model[5]])
    for row, gaps in zip(run(model, said=said, truth=truth), truth.gaps, strict=True):
        np.testing.assert_allclose(row.lists["bn_mean_gap"], [gaps[0], gaps[1]], rtol=1e-3)
    assert said["batchnorm"] == {"names": ["1", "5"], "skipped": {}}


@pytest.mark.parametrize(
    ("momentum", "updates", "shift", "known"),
    [
        (0.01, 1000, 1000.0, True),
        (None, 20_000, 0.0, True),
        (None, 1_000_000, 20.0, False),
        (None, 100_000, 20.0, False),
        (1e-4, 1000, 100.0, False),
    ],
)
def test_what_rounding_hides_is_unknown_with_the_reason(momentum, updates, shift, known):
    torch.manual_seed(0)
    model, said = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, momentum=momentum)), Said()
    data = torch.randn(160, 6)
    with torch.no_grad():  # as after a long training: near the statistics of all data
        model[0].bias += shift
        features = model[0](data)
        model[1].running_mean.copy_(features.mean(0) + 0.01)
        model[1].running_var.copy_(features.var(0) * 1.02)
        model[1].num_batches_tracked.fill_(updates)
    truth = Truth([model[1]])
    parts = started(BatchNorms(lambda: [model], said))
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    batch = lambda m, s: m(data[16 * s : 16 * s + 16]).square().sum()  # noqa: E731 - a loss in a line
    rows = train(parts, model, optimizer, batch, 10, seen=truth.begin)
    parts[0].epoch_begins(1)
    for row, gaps, ratios in zip(rows, truth.gaps, truth.ratios, strict=True):
        if known:
            assert row.lists["bn_mean_gap"][0] == pytest.approx(gaps[0], rel=0.05, abs=0.02)
        else:
            assert np.isnan(row.lists["bn_mean_gap"][0])
        if np.isfinite(row.lists["bn_log_var_ratio"][0]):
            assert row.lists["bn_log_var_ratio"][0] == pytest.approx(ratios[0], rel=0.05, abs=0.02)
    reason = {"1": "the rounding of its running statistics hides now what a batch moves"}
    assert said["batchnorm"]["skipped"] == ({} if known else reason)
    optimizer.param_groups[0]["lr"] = 0.0
    model[1].momentum = 0.1
    with torch.no_grad():
        model[1].running_mean.copy_(features.mean(0))
    (row,) = train(parts, model, optimizer, batch, 1, seen=truth.begin)
    parts[0].epoch_begins(2)
    assert row.lists["bn_mean_gap"][0] == pytest.approx(truth.gaps[-1][0], rel=1e-2)
    assert said["batchnorm"]["skipped"] == {}
