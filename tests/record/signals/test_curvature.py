"""Curvature along an update against quadratics whose Hessian is known."""

import math

import pytest
import torch
from torch import nn

from tb_losslens.record.row import Row
from tb_losslens.record.signals.curvature import Curvature
from tb_losslens.record.signals.layers import Layers
from tb_losslens.record.signals.movement import Movement
from tests.record.collecting import call, nothing, started, train


def quadratic(sizes, seed=0, largest=10.0):
    """A model of double parameters, the Hessian of its loss, and the loss."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(sizes)
    basis, _ = torch.linalg.qr(torch.randn(total, total, generator=generator, dtype=torch.float64))
    hessian = basis @ torch.diag(torch.linspace(0.1, largest, total, dtype=torch.float64)) @ basis.T
    model = nn.ParameterList([torch.randn(n, generator=generator, dtype=torch.float64) for n in sizes])

    def loss(model, step):
        weights = torch.cat(list(model))
        return 0.5 * weights @ hessian @ weights

    return model, hessian, loss


def collectors(model, optimizers, **kwargs):
    movement = Movement(lambda: [model], lambda: optimizers, nothing)
    return started(Layers(movement), Curvature(movement, **kwargs))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.05),
        lambda p: torch.optim.SGD(p, 0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.1),
    ],
)
@pytest.mark.parametrize("cadence", [1, 3])
def test_it_is_the_rayleigh_quotient_of_the_hessian(make, cadence):
    model, hessian, loss = quadratic([7, 5, 12])
    optimizer = make(model.parameters())
    path = []

    def seen(row, moment):
        if moment in ("step_begins", "step_ends"):
            path.append(torch.cat(list(model)).detach().clone())

    rows = train(collectors(model, [optimizer]), model, optimizer, loss, 10, dense=lambda s: s % cadence == 0, seen=seen)
    told = [step for step, row in enumerate(rows) if "curvature" in row.values]
    assert told == [step for step in range(1, 10) if (step - 1) % cadence == 0]
    for step in told:
        before, after = path[2 * step - 2], path[2 * step - 1]
        move = after - before
        values = rows[step].values
        assert values["curvature"] == pytest.approx((move @ hessian @ move / (move @ move)).item(), rel=1e-9)
        assert values["grad_dot_update"] == pytest.approx((hessian @ after @ move).item(), rel=1e-9)
        assert values["prev_grad_dot_update"] == pytest.approx((hessian @ before @ move).item(), rel=1e-9)


@pytest.mark.parametrize(("factor", "diverges"), [(0.9, False), (1.1, True)])
def test_beyond_two_over_the_rate_where_gradient_descent_diverges_and_only_there(factor, diverges):
    model, _, loss = quadratic([10, 10], largest=10.0)
    rate = factor * 2 / 10.0
    optimizer = torch.optim.SGD(model.parameters(), rate)
    losses = []

    def loss_of(model, step):
        losses.append(loss(model, step).item())
        return loss(model, step)

    rows = train(collectors(model, [optimizer]), model, optimizer, loss_of, 60)
    assert (losses[-1] > losses[0]) == diverges
    beyond = [row.values["curvature"] > 2 / rate for row in rows[1:]]
    assert (all(beyond[-20:])) == diverges
    assert any(beyond) == diverges


def test_large_tensors_are_estimated_in_proportion_to_their_size():
    # one small tensor of steep directions, one large one of flat ones: a plain sample would count them alike
    model = nn.ParameterList([torch.ones(16, dtype=torch.float64), torch.ones(64, 1000, dtype=torch.float64)])
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    rows = train(
        collectors(model, [optimizer]), model, optimizer, lambda m, step: 8 * (m[0] ** 2).sum() + 0.5 * (m[1] ** 2).sum(), 3
    )
    small, large = 16 * 16.0**2, 64_000 * 1.0  # squares of the gradients; curvature 16 and 1
    assert rows[1].values["curvature"] == pytest.approx((small * 16 + large * 1) / (small + large), rel=1e-6)


def test_noise_of_batches_adds_at_most_one_over_the_rate():
    generator = torch.Generator().manual_seed(0)
    model = nn.ParameterList([torch.zeros(200, dtype=torch.float64)])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def loss(model, step):  # flat: all there is of a gradient is noise
        return model[0] @ torch.randn(200, generator=generator, dtype=torch.float64)

    rows = train(collectors(model, [optimizer]), model, optimizer, loss, 200)
    found = torch.tensor([row.values["curvature"] for row in rows[1:]])
    assert found.mean() == pytest.approx(1 / 0.1, rel=0.05)
    assert (found < 2 / 0.1).all()


def test_the_scale_of_mixed_precision_is_taken_off():
    model, _, loss = quadratic([6])
    optimizer = torch.optim.SGD(model.parameters(), 1e-3 / 512)
    plain = train(collectors(model, [optimizer]), model, optimizer, loss, 2)
    model, _, loss = quadratic([6])
    optimizer = torch.optim.SGD(model.parameters(), 1e-3 / 512 / 512)
    scaled = train(
        collectors(model, [optimizer], scale=lambda: torch.tensor(512.0)), model, optimizer, lambda m, s: 512 * loss(m, s), 2
    )
    for name in ("curvature", "grad_dot_update"):
        assert scaled[1].values[name] == pytest.approx(plain[1].values[name], rel=1e-4)
    assert 0 < scaled[1].values["curvature"] < 10.0


def test_two_optimizers_after_one_backward_make_one_update():
    model, hessian, loss = quadratic([4, 9])
    both = [torch.optim.SGD([model[0]], 0.05), torch.optim.Adam([model[1]], 0.05)]
    parts = collectors(model, both)
    path = []
    rows = []
    for step in range(3):
        row = Row({})
        for optimizer in both:
            optimizer.zero_grad()
        loss(model, step).backward()
        call(parts, row, "backward_ends")
        path.append(torch.cat(list(model)).detach().clone())
        for optimizer in both:
            call(parts, row, "step_begins", optimizer)
            optimizer.step()
            call(parts, row, "step_ends", optimizer)
        rows.append(row)
    for step in (1, 2):
        move = path[step] - path[step - 1]
        assert rows[step].values["curvature"] == pytest.approx((move @ hessian @ move / (move @ move)).item())


def test_nothing_is_told_of_optimizers_that_take_turns_nor_over_an_epochs_end():
    model, _, loss = quadratic([4, 4])
    turns = [torch.optim.SGD([p], 0.05) for p in model]
    parts = collectors(model, turns)
    for step in range(4):
        (row,) = train(parts, model, turns[step % 2], loss, 1)
        assert "curvature" not in row.values
    whole = torch.optim.SGD(model.parameters(), 0.05)
    parts = collectors(model, [whole])
    train(parts, model, whole, loss, 1)
    for part in parts:
        part.epoch_begins(1)
    with torch.no_grad():
        model[0].zero_()
    first, second = train(parts, model, whole, loss, 2)
    assert "curvature" not in first.values
    assert "curvature" in second.values


def test_no_movement_is_no_curvature():
    model, _, loss = quadratic([4])
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    rows = train(collectors(model, [optimizer]), model, optimizer, loss, 2)
    assert math.isnan(rows[1].values["curvature"])


def test_an_optimizer_that_calls_the_loop_and_sparse_gradients_are_left_out():
    model, _, loss = quadratic([4])
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    parts = collectors(model, [optimizer])
    for _ in range(3):
        row = Row({})

        def closure(row=row):
            optimizer.zero_grad()
            value = loss(model, 0)
            value.backward()
            call(parts, row, "backward_ends")
            return value

        call(parts, row, "step_begins", optimizer)
        optimizer.step(closure)
        call(parts, row, "step_ends", optimizer)
        assert "curvature" not in row.values
        assert row.values["update_ratio"] > 0
    table = nn.Embedding(9, 3, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), 0.1)
    rows = train(collectors(table, [optimizer]), table, optimizer, lambda m, step: (m(torch.tensor([1, 1, 4])) ** 2).sum(), 3)
    assert all("curvature" not in row.values for row in rows)
