"""The parts of the probe one by one: what is put back, which batch is kept, and how much time is spent."""
# ruff: noqa: NPY002 - trainings draw from the global generator

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.probe.autocast_state import autocast_state
from tb_losslens.record.probe.batch import Unfit, batch_of
from tb_losslens.record.probe.budget import ALL, FEW, NONE, ProbeBudget
from tb_losslens.record.probe.capture import Capture
from tb_losslens.record.probe.evaluation import losses, probed
from tb_losslens.record.probe.fixed_randomness import fixed_randomness
from tb_losslens.record.probe.traceless import ChangedWeights, traceless


def draws():
    return torch.rand(3).tolist(), random.random(), np.random.rand(), random.gauss(0, 1), float(np.random.randn())


def test_every_stream_goes_on_where_it_was():
    own = torch.Generator().manual_seed(4)
    for _ in range(2):
        torch.manual_seed(1), random.seed(2), np.random.seed(3)
        random.gauss(0, 1), np.random.randn()  # the second of a pair waits in both
        truth, expected = draws(), torch.rand(1, generator=torch.Generator().manual_seed(4))
        torch.manual_seed(1), random.seed(2), np.random.seed(3)
        random.gauss(0, 1), np.random.randn()
        own.manual_seed(4)
        with fixed_randomness([torch.device("cpu")], [own]):
            inside = draws(), torch.rand(1, generator=own).item()
        assert draws() == truth
        assert torch.equal(torch.rand(1, generator=own), expected)
        with fixed_randomness([], [own]):
            assert (draws(), torch.rand(1, generator=own).item()) == inside


class Counting(nn.Module):
    """Keeps everything that a module might."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.tensor(0))
        self.register_buffer("odd", torch.tensor([float("nan"), -0.0]))
        self.register_buffer("rebound", torch.zeros(2))
        self.plain = torch.zeros(3)
        self.count, self.seen, self.by_name = 0, [], {}
        self.own = torch.Generator().manual_seed(0)

    def forward(self, x):
        self.calls += 1
        self.odd.zero_()
        self.rebound = self.rebound + 1
        self.plain += 1
        self.count += 1
        self.seen.append(x.shape)
        self.by_name["last"] = x
        self.cached = x
        self._forward_hooks.clear()
        return self.norm(x) + torch.rand(1, generator=self.own)


def everything(model):
    state = {name: (id(b), b.numpy().tobytes(), b._version) for name, b in model.named_buffers()}
    modes = [module.training for module in model.modules()]
    kept = model.count, list(model.seen), dict(model.by_name), sorted(vars(model)), len(model._forward_hooks)
    return state, modes, kept, model.plain.tolist(), model.own.get_state().tolist()


def test_a_model_is_as_it_was():
    model = Counting()
    model.register_forward_hook(lambda *_: None)
    model.norm.eval()
    before = everything(model)
    gradient = model.norm.weight.grad = torch.ones(4)
    with traceless(list(model.modules())):
        model.train()
        model(torch.randn(8, 4))
        assert everything(model) != before
        assert not torch.is_grad_enabled()
    assert everything(model) == before
    assert model.norm.weight.grad is gradient
    assert torch.is_grad_enabled()
    with pytest.raises(RuntimeError, match="5 elements"), traceless(list(model.modules())):
        model(torch.randn(8, 5))
    assert everything(model) == before


def test_a_graph_that_saved_a_buffer_can_still_go_backward():
    model = nn.BatchNorm1d(4).eval()
    loss = model(torch.randn(8, 4, requires_grad=True)).sum()
    with traceless([model]):
        model.running_mean.add_(1)
    loss.backward()
    assert model.running_mean.tolist() == [0, 0, 0, 0]


def test_weights_that_a_call_changes():
    class Writing(nn.Linear):
        def forward(self, x):
            self.weight.mul_(0.5)
            return super().forward(x)

    with pytest.raises(ChangedWeights), traceless([model := Writing(2, 2)]):
        model(torch.zeros(1, 2))
    embedding = nn.Embedding(5, 3, max_norm=0.1)
    before = embedding.weight.detach().clone()
    with traceless([embedding]):
        embedding(torch.arange(5))
        assert not torch.equal(embedding.weight, before)
    assert torch.equal(embedding.weight, before)


def twin(model, inputs, targets, criterion):
    """The two losses, the plain way, on a copy."""
    found = []
    for batch_statistics in (False, True):
        other = copy.deepcopy(model).eval()
        for module in other.modules():
            if batch_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()
        with torch.no_grad():
            found.append(criterion(other(inputs), targets).item())
    return found


def off():
    return autocast_state(torch.device("cpu"))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(6), nn.SyncBatchNorm(6), nn.BatchNorm1d(6, momentum=None)])
def test_both_modes_are_what_train_and_eval_give(layer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), layer, nn.Dropout(0.5), nn.Linear(6, 2))
    inputs, targets = torch.randn(30, 4) * 3 + 1, torch.randint(0, 2, (30,))
    plain = nn.Sequential(model[0], nn.BatchNorm1d(6), *model[2:])  # SyncBatchNorm trains on a device only
    found = losses(model, {"train": batch_of(inputs, targets)}, nn.CrossEntropyLoss(), autocast=off(), autocast_of_loss=off())
    assert list(found.values()) == pytest.approx(twin(plain, inputs, targets, nn.CrossEntropyLoss()), rel=1e-6)
    assert found["train_eval"] != pytest.approx(found["train_batchstat"], rel=1e-3)


def test_a_single_sample_has_no_batch_statistics():
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    found = losses(
        model, {"train": batch_of(torch.ones(1, 4), torch.ones(1, 6))}, nn.MSELoss(), autocast=off(), autocast_of_loss=off()
    )
    assert found["train_batchstat"] is None
    assert found["train_eval"] > 0


def test_a_model_that_writes_to_its_inputs_gets_the_same_ones_again():
    class Centering(nn.Module):
        def forward(self, x):
            return x.mul_(2)

    batch = {"train": batch_of(torch.ones(3, 2), torch.zeros(3, 2))}
    for _ in range(2):
        assert losses(Centering(), batch, nn.MSELoss(), autocast=off(), autocast_of_loss=off())["train_eval"] == 4


def test_models_that_cannot_be_probed():
    with pytest.raises(Unfit, match="meta"):
        probed(nn.Linear(2, 2, device="meta"))
    with pytest.raises(Unfit, match="TorchScript"):
        probed(nn.Sequential(torch.jit.script(nn.Linear(2, 2))))


# --- batches ----------------------------------------------------------------------------------------------------------


def test_the_first_256_samples_are_copied():
    inputs, targets = torch.randn(300, 2), torch.arange(300)
    batch = batch_of({"x": inputs, "scale": 2.0}, targets)
    truth = inputs[:256].clone()
    inputs.zero_()
    args, kwargs, (target,) = batch.given(torch.device("cpu"))
    assert (args, batch.samples, kwargs["scale"]) == ((), 256, 2.0)
    assert torch.equal(kwargs["x"], truth)
    assert torch.equal(target, torch.arange(256))


def test_a_batch_is_taken_from_what_the_training_does():
    capture, inputs, targets = Capture(compares=True), torch.randn(300, 2), torch.randint(0, 3, (300,))
    hidden, output = torch.randn(300, 5), torch.randn(300, 3)
    capture.inputs((inputs,), {"mask": None})
    capture.output({"hidden": hidden, "logits": output})
    assert capture.batch is None
    capture.criterion((output, targets))
    assert capture.batch.samples == 256
    assert capture.compared.of({"hidden": hidden, "logits": output}) is output
    again, kwargs, (target,) = capture.batch.given(torch.device("cpu"))
    assert torch.equal(again[0], inputs[:256])
    assert kwargs == {"mask": None}
    assert torch.equal(target, targets[:256])


def test_what_cannot_be_cut_is_kept_whole_and_what_nobody_can_tell_is_said():
    capture = Capture(compares=True)
    sequence, hidden = torch.randn(300, 4, 2), torch.randn(1, 4, 8)  # time first: its first axis is not that of samples
    output = torch.randn(4, 3)
    capture.inputs((sequence, hidden), {})
    capture.output(output)
    capture.criterion((output, torch.zeros(4, 3)))
    assert capture.batch.given(torch.device("cpu"))[0][0].shape == (300, 4, 2)
    capture = Capture(compares=True)
    capture.inputs((sequence,), {})
    capture.output(output)
    with pytest.raises(Unfit, match="cannot be cut"):
        capture.criterion((output, torch.zeros(4, 3)))
    capture = Capture(compares=True)
    capture.inputs((hidden,), {})
    capture.output(output)
    with pytest.raises(Unfit, match="loss_fn"):
        capture.criterion((output.log_softmax(1), torch.zeros(4, 3)))
    with pytest.raises(Unfit, match="object"):
        Capture(compares=True).inputs((object(),), {})


# --- time -------------------------------------------------------------------------------------------------------------


def test_the_budget_holds_and_points_go_before_boundaries():
    now = [0.0]
    budget = ProbeBudget(clock=lambda: now[0], grant=0.0)
    looked = []
    for _ in range(400):
        now[0] += 10.0  # an epoch; an evaluation takes 0.05 s, so that 1 % is 2 evaluations an epoch
        depth = budget.boundary()
        looked.append(depth)
        for _ in range({ALL: 7, FEW: 5, NONE: 0}[depth]):
            now[0] += 0.05
            budget.took(0.05)
    assert looked[:2] == [ALL, ALL]
    assert budget.spent <= 0.01 * now[0] + 1e-9
    assert budget.spent > 0.009 * now[0]
    assert looked.count(NONE) > looked.count(FEW) > 100
    assert ALL not in looked[2:]
    assert set(looked[-30:]) == {FEW, NONE}


def test_a_cheap_probe_looks_at_everything_and_a_dear_one_at_the_first_boundaries():
    # a dear one is looked at until it is known to be: in full at the first two boundaries, or until one evaluation exceeds all
    for seconds, first, expected in ((0.001, [ALL, ALL], {ALL}), (0.09, [ALL, ALL], {NONE}), (60.0, [ALL, NONE], {NONE})):
        now = [0.0]
        budget = ProbeBudget(clock=lambda now=now: now[0], grant=0.0)
        looked = []
        for _ in range(10):
            now[0] += 10.0
            looked.append(budget.boundary())
            for _ in range({ALL: 7, FEW: 5, NONE: 0}[looked[-1]]):
                now[0] += seconds
                budget.took(seconds)
        assert set(looked[2:]) == expected
        assert looked[:2] == first


def test_what_is_granted_is_spent_first():
    now = [0.0]
    budget = ProbeBudget(clock=lambda: now[0], grant=0.35)
    looked = []
    for _ in range(10):
        now[0] += 0.1
        looked.append(budget.boundary())
        for _ in range({ALL: 7, FEW: 5, NONE: 0}[looked[-1]]):
            budget.took(0.01)
    assert looked == [ALL] * 5 + [NONE] * 5


def test_frequent_validations_are_held_to_the_budget():
    now = [0.0]
    budget = ProbeBudget(clock=lambda: now[0], grant=0.0)
    for _ in range(1000):
        now[0] += 1.0
        if budget.validation():
            budget.took(0.1), budget.took(0.1)
    assert 0.008 * now[0] < budget.spent <= 0.01 * now[0]
