"""Every signal of the catalogue in one real training, beside the same number computed by the loop itself.

What needs another training has tests of its own: amp, micro_batches, loss_identity, input_signals and fingerprints in signals/,
source and hidden state in test_writer.py, restores and optimisers that nobody named in test_watch.py.
"""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from tests.record.training import Recorded, events

EPOCHS, BATCH, SAMPLES, CLASSES, RATE, CLIP, WAIT = 4, 8, 60, 3, 0.02, 0.4, 0.002
STEPS = -(-SAMPLES // BATCH)
EPS = 1e-5


class Images(Dataset):
    """Images of three classes, each of which takes a moment."""

    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        self.targets = torch.randint(0, CLASSES, (SAMPLES,), generator=generator)
        self.inputs = torch.randn(SAMPLES, 1, 6, 6, generator=generator) + self.targets.float().reshape(-1, 1, 1, 1)

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        time.sleep(WAIT)
        return self.inputs[index], self.targets[index], index


def norm(tensors):
    return float(torch.cat([t.detach().double().flatten() for t in tensors]).norm())


class Truth(SimpleNamespace):
    """Numbers of each batch by name."""

    def add(self, **numbers):
        for name, number in numbers.items():
            self.__dict__.setdefault(name, []).append(number)


def batch_norm_truth(layer, activations, mean, var):
    """Mean gap and log variance ratio of the running statistics before a batch, from its activations (batch, channel, y, x)."""
    channels = activations.detach().double().transpose(0, 1).flatten(1)
    batch_var = channels.var(1, correction=1) + EPS
    gap = ((mean - channels.mean(1)).square() / batch_var).mean().sqrt()
    return float(gap), float(((var + EPS) / batch_var).log().mean())


def train(writer):
    torch.manual_seed(0)
    # no parameter has more than the 256 elements that are read of each: what else is an estimate is exact
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, eps=EPS), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, CLASSES)
    )
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0.001)
    writer.watch(model, optimizer, criterion=criterion, scheduler=scheduler)
    writer.set_probe()
    writer._watch.probe.budget.share = 100.0  # these take milliseconds, and every point is wanted
    data, truth = Images(), Truth()
    batches = writer.wrap(DataLoader(data, BATCH, shuffle=True))
    held_out = writer.wrap(DataLoader(data, 20), split="val")
    parameters = list(model.parameters())
    for epoch in range(EPOCHS):
        model.train()
        for index, (inputs, targets, ids) in enumerate(batches):
            old = [b.double().clone() for b in (model[1].running_mean, model[1].running_var)]
            seen = []
            handle = model[0].register_forward_hook(lambda m, a, o, seen=seen: seen.append(o))
            output = model(inputs)
            handle.remove()
            gap, ratio = batch_norm_truth(model[1], seen[-1], *old)  # the probe may have called the model before
            loss = criterion(output, targets)
            optimizer.zero_grad()
            loss.backward()
            gradients, weights = [p.grad.clone() for p in parameters], [p.detach().clone() for p in parameters]
            nn.utils.clip_grad_norm_(parameters, CLIP)
            at_step = norm(p.grad for p in parameters)
            optimizer.step()
            moved = [p.detach() - w for p, w in zip(parameters, weights, strict=True)]
            states = [optimizer.state[p] for p in parameters]
            truth.add(
                loss=loss.item(),
                epoch=epoch,
                index=index,
                batch_size=len(inputs),
                lr=0.001 + (RATE - 0.001) * (1 + np.cos(np.pi * epoch / EPOCHS)) / 2,
                grad_norm=norm(gradients),
                grad_norm_at_step=at_step,
                layer_grad_norm=[norm([g]) for g in gradients],
                layer_update_ratio=[norm([m]) / (norm([w]) or np.nan) for m, w in zip(moved, weights, strict=True)],
                update_ratio=norm(moved) / norm(weights),
                weight_norm=norm(weights),
                opt_step=len(truth.__dict__.get("loss", ())) + 1,
                moment1_norm=norm(state["exp_avg"] for state in states),
                moment2_norm=norm(state["exp_avg_sq"] for state in states),
                bn_mean_gap=[gap],
                bn_log_var_ratio=[ratio],
                bn_updates=len(truth.__dict__.get("loss", ())) + 1,
                input_mean=inputs.double().mean().item(),
                input_std=inputs.double().std(correction=0).item(),
                input_nonfinite=0,
                input_relation=0,
                sample_level_max=inputs.double().flatten(1).mean(1).max().item(),
                sample_level_median=inputs.double().flatten(1).mean(1).median().item(),  # of an even number the lower one
                sample_level_min=inputs.double().flatten(1).mean(1).min().item(),
                sample_ids=ids.tolist(),
                classes=[[c, n] for c, n in enumerate(np.bincount(targets, minlength=CLASSES).tolist()) if n],
                per_sample=functional.cross_entropy(output, targets, reduction="none").tolist(),
                train_mode=1,
                micro_batches=1,
                step=len(truth.__dict__.get("loss", ())),
            )
        scheduler.step()
        model.eval()
        with torch.no_grad():
            truth.__dict__.setdefault("held_out", []).append([criterion(model(x), y).item() for x, y, _ in held_out])
    return truth


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What was recorded, and the truth."""
    one = Recorded(tmp_path_factory.mktemp("catalogue"))
    began = time.time()
    truth = train(one.writer)
    truth.began, truth.ended = began, time.time()
    return one.run(), truth


COLUMNS = (
    *("step", "loss", "epoch", "index", "batch_size", "lr", "grad_norm", "grad_norm_at_step", "update_ratio", "weight_norm"),
    *("opt_step", "moment1_norm", "moment2_norm", "bn_updates", "input_mean", "input_std", "input_nonfinite", "input_relation"),
    *("sample_level_max", "sample_level_median", "sample_level_min", "train_mode", "micro_batches"),
)
LISTS = ("sample_ids", "classes", "per_sample", "layer_grad_norm", "layer_update_ratio", "bn_mean_gap", "bn_log_var_ratio")


@pytest.mark.parametrize("name", COLUMNS)
def test_a_number_of_each_batch(name, both):
    run, truth = both
    np.testing.assert_allclose(run.float(name), getattr(truth, name), rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_each_batch(name, both):
    run, truth = both
    for row, expected in enumerate(getattr(truth, name)):
        np.testing.assert_allclose(run.ragged[name][row], expected, rtol=1e-3, atol=1e-5)


def test_waiting_for_data_is_a_part_of_the_time(both):
    run, truth = both
    assert (run.float("data_wait") >= WAIT * run.float("batch_size")).all()
    times = run.float("time")
    assert (np.diff(times) > 0).all()
    assert truth.began <= times[0] < times[-1] <= truth.ended
    assert run.float("data_wait").sum() <= truth.ended - truth.began


def test_gradients_were_there_before_no_backward_and_the_loss_is_cross_entropy(both):
    run, _ = both
    assert np.isnan(run.float("grads_before_backward")[0])
    assert (run.float("grads_before_backward")[1:] == 0).all()
    names = np.array(run.facts["identities"])[run.float("loss_identity").astype(int)]
    assert all("cross" in name for name in names)


def test_an_epoch_has_its_order_its_set_and_both_states(both):
    run, truth = both
    begins, ends = events(run, "epoch_begin"), events(run, "epoch_end")
    assert len(begins) == len(ends) == EPOCHS
    ids = [np.concatenate(truth.sample_ids[STEPS * e : STEPS * (e + 1)]).tolist() for e in range(EPOCHS)]
    for epoch, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        assert end.fields["first_ids"] == ids[epoch][: len(end.fields["first_ids"])]
        assert end.fields["last_ids"] == ids[epoch][-len(end.fields["last_ids"]) :]
        assert end.fields["batches"] == STEPS
        if epoch:
            assert (end.fields["inputs_changed"], end.fields["targets_changed"]) == (0, 0)
        assert begin.fields["optimizer_state"][0]["with_state"] == (6 if epoch else 0)
        norms = end.fields["optimizer_state"][0]["norms"]
        assert norms["exp_avg"] == pytest.approx(truth.moment1_norm[STEPS * (epoch + 1) - 1], rel=1e-4)
        assert {"torch", "numpy", "python"} <= set(begin.fields["rng"])
        assert end.fields["loader"]["shuffle"] is True
    assert len({end.fields["order_hash"] for end in ends}) == EPOCHS
    assert len({end.fields["set_hash"] for end in ends}) == 1
    assert [e.fields["parameters"] == b.fields["parameters"] for e, b in zip(ends, begins[1:], strict=False)] == [True] * 3
    assert begins[0].fields["config"]["scheduler class"] == "CosineAnnealingLR"


def test_a_validation_has_the_losses_of_its_batches_and_changes_nothing(both):
    run, truth = both
    begins, ends = events(run, "validation_begin"), events(run, "validation_end")
    assert len(begins) == len(ends) == EPOCHS
    for begin, end, losses in zip(begins, ends, truth.held_out, strict=True):
        np.testing.assert_allclose(end.fields["batch_losses"], losses, rtol=1e-6)
        assert end.fields["value"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert (end.fields["n"], end.fields["train_mode"]) == (SAMPLES, 0)
        assert begin.fields["parameters"] == end.fields["parameters"]


def test_the_probe_has_all_four_losses_at_each_moment(both):
    run, _ = both
    probes = events(run, "probe")
    assert {probe.fields["epoch"] for probe in probes} == set(range(EPOCHS))
    assert {"t0", "t1", "u1"} <= {probe.fields["when"] for probe in probes}
    for probe in probes:
        assert np.isfinite([probe.fields[f"train_{mode}"] for mode in ("eval", "batchstat")]).all()
        if probe.fields["epoch"] > 1:  # there is no held-out batch before the first validation
            assert np.isfinite([probe.fields[f"heldout_{mode}"] for mode in ("eval", "batchstat")]).all()
