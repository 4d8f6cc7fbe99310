"""Steps and moments of optimisers against what a plain loop keeps beside them."""

import json
import math

import pytest
import torch
from torch import nn

from tb_losslens.record.signals.optimizer_state import OptimizerState, optimizer_digest
from tests.record.collecting import blobs, started, train

INPUTS, TARGETS = blobs()


def mlp(hidden=16):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, hidden), nn.ReLU(), nn.Linear(hidden, 2))


def loss_of(model, step):
    return nn.functional.cross_entropy(model(INPUTS), TARGETS)


class Gradients:
    """The gradients of each step, as one vector."""

    def __init__(self, model):
        self.model, self.found = model, []

    def __call__(self, row, moment):
        if moment == "step_begins":
            self.found.append(torch.cat([p.grad.double().reshape(-1) for p in self.model.parameters()]))


def mean(gradients, decay, share):
    value = torch.zeros_like(gradients[0])
    for gradient in gradients:
        value = decay * value + share * gradient
    return value.norm().item()


def adam(gradients):
    return mean(gradients, 0.9, 0.1), mean([g * g for g in gradients], 0.999, 0.001)


CASES = {
    "SGD": (lambda p: torch.optim.SGD(p, 0.1), lambda g: (None, None), False),
    "momentum": (lambda p: torch.optim.SGD(p, 0.1, momentum=0.9), lambda g: (mean(g, 0.9, 1.0), None), False),
    "Adam": (torch.optim.Adam, adam, True),
    "AdamW": (lambda p: torch.optim.AdamW(p, foreach=False), adam, True),
    "RMSprop": (torch.optim.RMSprop, lambda g: (None, mean([x * x for x in g], 0.99, 0.01)), True),
    "Adagrad": (torch.optim.Adagrad, lambda g: (None, mean([x * x for x in g], 1.0, 1.0)), True),
    "Adadelta": (torch.optim.Adadelta, lambda g: (None, mean([x * x for x in g], 0.9, 0.1)), True),
}


@pytest.mark.parametrize("name", CASES)
def test_columns_and_digest(name):
    make, truth, counts = CASES[name]
    model = mlp()
    optimizer, gradients = make(model.parameters()), Gradients(model)
    part = started(OptimizerState(lambda: [optimizer]))[0]
    assert optimizer_digest(optimizer)["class"] == type(optimizer).__name__
    rows = train([part], model, optimizer, loss_of, 5, seen=gradients)
    for step, row in enumerate(rows):
        first, second = truth(gradients.found[: step + 1])
        assert row.values.get("opt_step") == (step + 1 if counts else None)
        assert row.values.get("moment1_norm") == (None if first is None else pytest.approx(first, rel=1e-4))
        assert row.values.get("moment2_norm") == (None if second is None else pytest.approx(second, rel=1e-4))
    (digest,) = part.epoch_ends(0)["optimizer_state"]
    assert json.loads(json.dumps(digest)) == digest
    assert digest["parameters"] == 4
    assert digest.get("step") == ([5.0, 5.0] if counts else None)
    first, second = truth(gradients.found)
    norms = digest.get("norms", {})
    names = {"exp_avg": first, "momentum_buffer": first, "exp_avg_sq": second, "square_avg": second, "sum": second}
    for key, value in norms.items():
        if key in names:
            assert value == pytest.approx(names[key], rel=1e-4)
    assert len([key for key in norms if key in names]) == (first is not None) + (second is not None)
    assert part.epoch_begins(1)["optimizer_state"] == [digest]


def test_a_resume_without_the_state_is_seen_and_one_with_it_is_no_change():
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    train(started(OptimizerState(lambda: [optimizer])), model, optimizer, loss_of, 4)
    before = optimizer_digest(optimizer)
    restored = torch.optim.Adam(model.parameters())
    assert optimizer_digest(restored) == {"class": "Adam", "parameters": 4, "with_state": 0}
    restored.load_state_dict(optimizer.state_dict())
    assert optimizer_digest(restored) == before


def test_large_states_nearly_and_exactly_in_the_digest():
    model = mlp(hidden=4000)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    gradients = Gradients(model)
    rows = train(started(OptimizerState(lambda: [optimizer])), model, optimizer, loss_of, 3, seen=gradients)
    truth = mean(gradients.found, 0.9, 1.0)
    assert rows[-1].values["moment1_norm"] == pytest.approx(truth, rel=0.2)
    assert optimizer_digest(optimizer)["norms"]["momentum_buffer"] == pytest.approx(truth, rel=1e-4)


def test_parameters_that_got_no_gradient_and_groups_added_later():
    model = mlp()
    optimizer = torch.optim.Adam([{"params": model[2].parameters()}])
    idle = nn.Parameter(torch.ones(3))
    optimizer.add_param_group({"params": [idle]})
    part = started(OptimizerState(lambda: [optimizer]))[0]
    train([part], model, optimizer, loss_of, 2)
    optimizer.add_param_group({"params": model[0].parameters()})
    part.epoch_begins(1)
    row = train([part], model, optimizer, loss_of, 3)[-1]
    digest = optimizer_digest(optimizer)
    assert (digest["parameters"], digest["with_state"], digest["step"]) == (5, 4, [3.0, 5.0])
    moments = torch.cat([optimizer.state[p]["exp_avg"].reshape(-1) for p in model.parameters()])
    assert row.values["moment1_norm"] == pytest.approx(moments.norm().item(), rel=1e-5)


def test_the_second_optimizer_has_columns_of_its_own():
    model = mlp()
    optimizers = [torch.optim.SGD(model[0].parameters(), 0.1), torch.optim.Adam(model[2].parameters())]
    part = started(OptimizerState(lambda: optimizers))
    (row,) = train(part, model, optimizers[1], loss_of, 1)
    assert row.values["opt_step.1"] == 1.0
    assert row.values["moment1_norm.1"] > 0
    assert "opt_step" not in row.values


def test_optimizers_of_other_kinds_tell_what_they_have():
    class Packed(torch.optim.Optimizer):
        """Counts in its group, and keeps one number a row and codes."""

        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.1, "step": 0})

        def step(self, closure=None):
            for group in self.param_groups:
                group["step"] += 1
                for p in group["params"]:
                    self.state[p] = {
                        "exp_avg_sq": p.grad.reshape(len(p), -1).mean(1),
                        "exp_avg": p.grad.clone() > 0,
                        "trust": 0.5,
                        "noise": p.grad.clone(),
                    }

    model = mlp()
    optimizer = Packed([model[0].weight, model[2].weight])
    (row,) = train(started(OptimizerState(lambda: [optimizer])), model, optimizer, loss_of, 1)
    assert row.values == {"opt_step": 1.0}
    digest = optimizer_digest(optimizer)
    assert digest["step"] == [1.0, 1.0]
    kept = [optimizer.state[p] for p in (model[0].weight, model[2].weight)]
    for name in ("exp_avg_sq", "noise"):
        truth = math.hypot(*[state[name].double().norm().item() for state in kept])
        assert digest["norms"].pop(name) == pytest.approx(truth, rel=1e-5)
    assert digest["norms"] == {}
    assert digest["numbers"] == {"trust": 0.5}
    lbfgs = torch.optim.LBFGS(model.parameters())
    lbfgs.step(lambda: _backward(model))
    digest = optimizer_digest(lbfgs)
    assert digest["numbers"]["n_iter"] > 0
    (state,) = lbfgs.state.values()  # of all parameters at once, kept with the first one
    assert digest["norms"]["d"] == pytest.approx(state["d"].norm().item(), rel=1e-5)


def test_of_factored_moments_the_rows_and_columns_are_told():
    model = mlp()
    optimizer = torch.optim.Adafactor(model.parameters(), 0.01)
    train(started(OptimizerState(lambda: [optimizer])), model, optimizer, loss_of, 3)
    norms = optimizer_digest(optimizer)["norms"]
    assert set(norms) == {"row_var", "col_var", "variance"}
    for name, value in norms.items():
        parts = [state[name].double().norm().item() for state in optimizer.state.values() if name in state]
        assert value == pytest.approx(math.hypot(*parts), rel=1e-5)


def _backward(model):
    model.zero_grad()
    loss = loss_of(model, 0)
    loss.backward()
    return loss


def test_sparse_and_half_precision_state():
    table = nn.Embedding(9, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(table.parameters())
    rows = train(
        started(OptimizerState(lambda: [optimizer])), table, optimizer, lambda m, s: m(torch.tensor([1, 2, 2])).sum(), 2
    )
    assert rows[-1].values["opt_step"] == 2
    assert rows[-1].values["moment1_norm"] == pytest.approx(optimizer.state[table.weight]["exp_avg"].norm().item(), rel=1e-5)
    model = mlp().to(torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    (row,) = train(
        started(OptimizerState(lambda: [optimizer])),
        model,
        optimizer,
        lambda m, s: nn.functional.cross_entropy(m(INPUTS.bfloat16()).float(), TARGETS),
        1,
    )
    truth = math.sqrt(sum(optimizer.state[p]["momentum_buffer"].double().square().sum().item() for p in model.parameters()))
    assert row.values["moment1_norm"] == pytest.approx(truth, rel=1e-5)


def test_nothing_is_left_behind():
    def trained(watched):
        model = mlp()
        optimizer = torch.optim.SGD([*model.parameters(), nn.Parameter(torch.ones(1))], 0.1)
        parts = started(OptimizerState(lambda: [optimizer])) if watched else ()
        train(parts, model, optimizer, loss_of, 3)
        optimizer_digest(optimizer) if watched else None
        return model.state_dict(), len(optimizer.state), torch.get_rng_state()

    (seen, seen_states, seen_rng), (plain, plain_states, plain_rng) = trained(True), trained(False)
    assert all(torch.equal(seen[name], plain[name]) for name in plain)
    assert seen_states == plain_states
    assert torch.equal(seen_rng, plain_rng)
