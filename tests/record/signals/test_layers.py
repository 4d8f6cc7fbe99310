"""Gradient norms and movements of layers against plain computation in the loop itself."""

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.row import Row
from tb_losslens.record.signals.layers import Layers, _roots, _sizes_on_device
from tb_losslens.record.signals.movement import Movement
from tests.record.collecting import Said, blobs, call, nothing, started, train

INPUTS, TARGETS = blobs()


def loss_of(model, step):
    return nn.functional.cross_entropy(model(INPUTS), TARGETS)


def layers_of(models, optimizers, said=nothing, **kwargs):
    return started(Layers(Movement(lambda: models, lambda: optimizers, said), **kwargs))


class Truth:
    """Norms and movements of all parameters, by the definition."""

    def __init__(self, model):
        self.model, self.norms, self.moves, self.sizes = model, [], [], []

    def __call__(self, row, moment):
        parameters = list(self.model.parameters())
        if moment == "backward_ends":
            self.norms.append([float("nan") if p.grad is None else p.grad.double().norm().item() for p in parameters])
        if moment == "step_begins":
            self.before = [p.detach().double().clone() for p in parameters]
            self.sizes.append([p.norm().item() for p in self.before])
        if moment == "step_ends":
            self.moves.append([(p.detach().double() - b).norm().item() for p, b in zip(parameters, self.before, strict=True)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_small_layers_exactly(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    said, truth = Said(), Truth(model)
    rows = train(
        layers_of([model], [optimizer], said),
        model,
        optimizer,
        lambda m, step: nn.functional.cross_entropy(m(INPUTS.to(dtype)), TARGETS),
        5,
        seen=truth,
    )
    assert said["layers"] == {"names": ["0.weight", "0.bias", "2.weight", "2.bias"], "grouped": False}
    for row, norms, moves, sizes in zip(rows, truth.norms, truth.moves, truth.sizes, strict=True):
        assert row.lists["layer_grad_norm"].dtype == np.float32
        np.testing.assert_allclose(row.lists["layer_grad_norm"], norms, rtol=1e-5)
        np.testing.assert_allclose(row.lists["layer_update_ratio"], np.divide(moves, sizes), rtol=1e-3)
        assert row.values["update_ratio"] == pytest.approx(np.linalg.norm(moves) / np.linalg.norm(sizes), rel=1e-3)
        assert row.values["weight_norm"] == pytest.approx(np.linalg.norm(sizes), rel=1e-5)


def test_large_layers_nearly():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 300))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    images, truth = torch.randn(8, 3, 12, 12), Truth(model)
    rows = train(
        layers_of([model], [optimizer]),
        model,
        optimizer,
        lambda m, step: nn.functional.cross_entropy(m(images), TARGETS[:8]),
        4,
        seen=truth,
    )
    for row, norms, moves, sizes in zip(rows, truth.norms, truth.moves, truth.sizes, strict=True):
        np.testing.assert_allclose(row.lists["layer_grad_norm"], norms, rtol=1e-4)  # torch adds up in single precision
        np.testing.assert_allclose(row.lists["layer_update_ratio"], np.divide(moves, sizes), rtol=0.2)
        assert row.values["weight_norm"] == pytest.approx(np.linalg.norm(sizes), rel=0.1)


def test_a_layer_without_gradient_sparse_complex_and_shared_ones():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4, sparse=True)
            self.unused = nn.Linear(2, 2)
            self.pairs = nn.Parameter(torch.randn(4, dtype=torch.complex64))
            self.again = self.pairs

        def forward(self, tokens):
            return (self.table(tokens) * self.pairs).abs().sum()

    torch.manual_seed(0)
    model, said = Odd(), Said()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    norms = []

    def seen(row, moment):
        if moment == "backward_ends":
            norms.append([model.table.weight.grad.to_dense().norm().item(), np.nan, np.nan, model.pairs.grad.norm().item()])

    rows = train(layers_of([model], [optimizer], said), model, optimizer, lambda m, s: m(torch.tensor([1, 1, 5])), 3, seen=seen)
    names = said["layers"]["names"]
    assert sorted(names) == ["pairs", "table.weight", "unused.bias", "unused.weight"]
    order = [names.index(name) for name in ("table.weight", "unused.weight", "unused.bias", "pairs")]
    for row, truth in zip(rows, norms, strict=True):
        np.testing.assert_allclose(row.lists["layer_grad_norm"][order], truth, rtol=1e-5)
        moved = row.lists["layer_update_ratio"][order]
        assert (moved[[0, 3]] > 0).all()
        assert (moved[1:3] == 0).all()


def test_of_all_steps_of_a_row_and_with_the_last_backward():
    model = nn.Linear(3, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    parts = layers_of([model], [optimizer])
    row = Row({})
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 4.0, 0.0]]))
    for gradient in (1.0, 2.0):
        model.weight.grad = torch.full((1, 3), gradient)
        call(parts, row, "backward_ends")
        call(parts, row, "step_begins", optimizer)
        optimizer.step()
        call(parts, row, "step_ends", optimizer)
    assert row.lists["layer_grad_norm"].tolist() == pytest.approx([2 * 3**0.5])
    assert row.values["update_ratio"] == pytest.approx(3 * 3**0.5 / 5)


def test_weights_of_zero_have_no_ratio():
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    first, second = train(layers_of([model], [optimizer]), model, optimizer, lambda m, s: m(torch.ones(1, 3)).sum(), 2)
    assert np.isnan(first.lists["layer_update_ratio"]).tolist() == [False, True]
    assert np.isfinite(second.lists["layer_update_ratio"]).all()


def test_gradients_that_overflow_are_not_hidden():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parts, row = layers_of([model], [optimizer]), Row({})
    model.weight.grad, model.bias.grad = torch.tensor([[float("inf"), 1.0]]), torch.tensor([float("nan")])
    call(parts, row, "backward_ends")
    assert np.isinf(row.lists["layer_grad_norm"][0])
    assert np.isnan(row.lists["layer_grad_norm"][1])
    model.weight.grad, model.bias.grad = None, torch.tensor([1e30])
    call(parts, row, "backward_ends")
    np.testing.assert_allclose(row.lists["layer_grad_norm"], [np.nan, 1e30], rtol=1e-6)


def test_the_amp_scale_is_taken_off():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parts, row = layers_of([model], [optimizer], scale=lambda: torch.tensor(8.0)), Row({})
    model.weight.grad = torch.tensor([[24.0, 32.0]])
    call(parts, row, "backward_ends")
    assert row.lists["layer_grad_norm"].tolist() == [5.0]
    assert model.weight.grad.tolist() == [[24.0, 32.0]]


def test_lazy_parameters_and_those_that_come_later_take_the_places_behind():
    said = Said()
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(list(model.parameters()), 0.1)
    parts = layers_of([model], [optimizer], said)
    (row,) = train(parts, model, optimizer, loss_of, 1)
    assert said["layers"]["names"] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert np.isfinite(row.lists["layer_grad_norm"]).all()
    model.add_module("2", nn.Linear(2, 2))
    optimizer.add_param_group({"params": model[2].parameters()})
    (row,) = train(parts, model, optimizer, loss_of, 1)
    assert said["layers"]["names"][4:] == ["2.weight", "2.bias"]
    truth = [p.grad.norm().item() for p in model.parameters()]
    np.testing.assert_allclose(row.lists["layer_grad_norm"], truth, rtol=1e-5)


def test_many_parameters_are_grouped_by_their_prefix():
    torch.manual_seed(0)
    said = Said()
    model = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)) for _ in range(150)], nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    parts = layers_of([model], [optimizer], said)
    (row,) = train(parts, model, optimizer, lambda m, s: sum((p**2).sum() for p in m.parameters()), 1)
    names = said["layers"]["names"]
    assert said["layers"]["grouped"]
    assert names[:3] == ["0.0", "0.1", "1.0"]  # of 602 parameters: two a prefix
    truth = {}
    for name, p in model.named_parameters():
        prefix = ".".join(name.split(".")[:2])
        truth[prefix] = truth.get(prefix, 0.0) + p.grad.double().square().sum().item()
    assert names == list(truth)
    np.testing.assert_allclose(row.lists["layer_grad_norm"], [square**0.5 for square in truth.values()], rtol=1e-5)
    np.testing.assert_allclose(row.lists["layer_update_ratio"], 0.2, rtol=1e-4)  # the gradient is twice the weight
    assert row.values["update_ratio"] == pytest.approx(0.2, rel=1e-4)


def test_several_models_and_an_optimizer_of_none_of_them():
    said = Said()
    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    alone = nn.Parameter(torch.ones(3))
    optimizers = [torch.optim.SGD([*models[0].parameters(), alone], 0.1), torch.optim.Adam(models[1].parameters())]
    layers_of(models, optimizers, said)
    assert said["layers"]["names"] == ["weight", "bias", "Linear2.weight", "Linear2.bias", "SGD.0.2"]


@pytest.mark.parametrize("grouped", [False, True])
def test_the_arithmetic_for_a_device_gives_the_numbers_of_that_for_the_cpu(grouped):
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Linear(20, 30) for _ in range(300 if grouped else 3)])
    nn.init.zeros_(model[1].bias)
    movement = Movement(lambda: [model], list, nothing)
    movement.refresh()
    sample, device = movement.sample, torch.device("cuda")
    before, change = sample.values(), torch.randn(len(sample.owner))
    host = movement.by_layer(sample.squares(change, before))
    dot = sample.dot(change, sample.weighed(before))
    sample.device = device  # the tensors stay where they are: what would run there runs here
    there = movement.by_layer(sample.squares(change, before))
    assert isinstance(there, torch.Tensor)
    np.testing.assert_allclose(there.numpy(), host, rtol=1e-4)
    assert sample.dot(change, sample.weighed(before)).item() == pytest.approx(dot, rel=1e-4)
    ratios, update, weight = _sizes_on_device(there)
    np.testing.assert_allclose(ratios.numpy(), _roots(host), rtol=1e-4)
    moved, size = host.sum(1)
    assert update.item() == pytest.approx((moved / size) ** 0.5, rel=1e-4)
    assert weight.item() == pytest.approx(size**0.5, rel=1e-4)
    assert np.isnan(ratios.numpy()).sum() == (0 if grouped else 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_a_device():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    inputs, targets = INPUTS.cuda(), TARGETS.cuda()
    parts = layers_of([model], [optimizer])
    parts[0].tell = lambda row, values: row.values.update(values)

    def loss(model, step):
        return nn.functional.cross_entropy(model(inputs), targets)

    train(parts, model, optimizer, loss, 2)
    torch.cuda.set_sync_debug_mode("error")
    try:
        rows = train(parts, model, optimizer, loss, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    truth = [p.grad.norm().item() for p in model.parameters()]
    np.testing.assert_allclose(np.asarray(rows[-1].lists["layer_grad_norm"]), truth, rtol=1e-5)


def test_nothing_is_left_behind():
    def trained(watched):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        parts = layers_of([model], [optimizer]) if watched else ()
        rows = train(parts, model, optimizer, loss_of, 6)
        assert not watched or all(len(row.lists["layer_update_ratio"]) == 4 for row in rows)
        return [*model.parameters()], torch.get_rng_state()

    (seen, seen_rng), (plain, plain_rng) = trained(True), trained(False)
    assert all(torch.equal(a, b) and torch.equal(a.grad, b.grad) for a, b in zip(seen, plain, strict=True))
    assert torch.equal(seen_rng, plain_rng)
