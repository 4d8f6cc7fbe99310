import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tb_losslens.record.signals.loss_functions import IDENTITIES, KINDS, output_kind
from tb_losslens.record.signals.loss_identity import LossIdentity, first_on_device, identity_facts
from tests.record.recorded_signals import Told, data, moments, step


def identified(criterion, output, target, watched=None):
    """Names of identity and kind that a call of `criterion` is told with, and the row."""
    told = Told(LossIdentity(lambda: [watched if watched is not None else criterion]))
    row = told.row(dense=2)
    loss = criterion(output, target)
    told.each("criterion_called", row, (output, target), loss)
    if "loss_identity" not in row.values:
        return None, None, row
    code = int(row.values["loss_identity"])
    return IDENTITIES[code] if code >= 0 else None, KINDS[int(row.values["output_kind"])], row


def outputs(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def classes(*shape, high=5, seed=1):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_cross_entropy(reduction, weight, smoothing):
    criterion = nn.CrossEntropyLoss(weight=weight, reduction=reduction, label_smoothing=smoothing)
    target = classes(32)
    target[3] = -100
    name, kind, row = identified(criterion, outputs(32, 5), target)
    assert name == f"cross_entropy{'_smoothed' if smoothing else ''}/{reduction}"
    assert kind == "anything"
    each = nn.CrossEntropyLoss(weight=weight, reduction="none", label_smoothing=smoothing)(outputs(32, 5), target)
    assert torch.allclose(torch.tensor(row.lists["per_sample"]), each, rtol=1e-4, atol=1e-6)


def test_cross_entropy_of_tokens_and_pixels():
    assert identified(nn.CrossEntropyLoss(), outputs(4, 5, 7), classes(4, 7))[0] == "cross_entropy/mean"
    name, _, row = identified(nn.CrossEntropyLoss(), outputs(4, 5, 3, 3), classes(4, 3, 3))
    assert name == "cross_entropy/mean"
    each = nn.CrossEntropyLoss(reduction="none")(outputs(4, 5, 3, 3), classes(4, 3, 3)).mean((1, 2))
    assert torch.allclose(torch.tensor(row.lists["per_sample"]), each, rtol=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("kind", "settings", "name"),
    [
        (nn.SmoothL1Loss, {"beta": 0.3}, "smooth_l1"),
        (nn.HuberLoss, {"delta": 0.3}, "huber"),
        (nn.HuberLoss, {}, "smooth_l1"),  # the same function
        (nn.BCEWithLogitsLoss, {"pos_weight": torch.tensor([3.0])}, "bce_with_logits"),
        (nn.BCEWithLogitsLoss, {"pos_weight": torch.tensor([3.0, 0.2, 1.0, 5.0, 1.0])}, "bce_with_logits"),
    ],
)
def test_losses_with_settings_of_their_own(kind, settings, name, reduction):
    output, target = outputs(32, 5), outputs(32, 5, seed=3)
    if kind is nn.BCEWithLogitsLoss:
        target = (target > 0).float()
    found, _, row = identified(kind(reduction=reduction, **settings), output, target)
    assert found == f"{name}/{reduction}"
    each = kind(reduction="none", **settings)(output, target).mean(1)
    assert torch.allclose(torch.tensor(row.lists["per_sample"]), each, rtol=1e-4, atol=1e-6)


def test_losses_of_each_sample_without_reduction():
    assert identified(nn.CrossEntropyLoss(reduction="none"), outputs(32, 5), classes(32))[0] == "cross_entropy/mean"


def test_what_is_given_to_a_wrong_loss():
    logits, target = outputs(32, 5), classes(32)
    assert identified(nn.CrossEntropyLoss(), logits.softmax(1), target)[:2] == ("cross_entropy/mean", "probabilities")
    assert identified(nn.NLLLoss(), logits, target)[:2] == ("nll/mean", "anything")
    assert identified(nn.NLLLoss(), logits.softmax(1), target)[:2] == ("nll/mean", "probabilities")
    # log probabilities are what they become again: right, both ways
    assert identified(nn.NLLLoss(), logits.log_softmax(1), target)[:2] == ("cross_entropy/mean", "log probabilities")

    class Twice(nn.Module):
        def forward(self, output, wanted):
            return F.cross_entropy(output.softmax(1), wanted)

    assert identified(Twice(), logits, target)[:2] == ("cross_entropy_of_softmax/mean", "anything")

    class Of(nn.Module):
        def forward(self, output, wanted):
            return F.nll_loss(output.log(), wanted)

    assert identified(Of(), logits.softmax(1), target)[0] == "cross_entropy_of_probabilities/mean"


@pytest.mark.parametrize(
    ("criterion", "name"),
    [(nn.MSELoss, "mse"), (nn.L1Loss, "mae"), (nn.SmoothL1Loss, "smooth_l1"), (nn.BCEWithLogitsLoss, "bce_with_logits")],
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(16,), (16, 1), (16, 3, 2)])
def test_losses_of_numbers(criterion, name, reduction, shape):
    target = torch.rand(*shape, generator=torch.Generator().manual_seed(5))
    found, _, row = identified(criterion(reduction=reduction), outputs(*shape), target)
    assert found == f"{name}/{reduction}"
    each = criterion(reduction="none")(outputs(*shape), target).reshape(16, -1).mean(1)
    assert torch.allclose(torch.tensor(row.lists["per_sample"]), each, rtol=1e-4, atol=1e-6)


def test_bce_of_probabilities():
    found, kind, _ = identified(nn.BCELoss(), outputs(16).sigmoid(), classes(16, high=2).float())
    assert (found, kind) == ("bce/mean", "within 0..1")


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_every_output_against_every_target():
    output, target = outputs(16, 1), outputs(16, seed=3)
    assert identified(nn.MSELoss(), output, target)[0] == "mse_broadcast/mean"
    assert identified(nn.MSELoss(), output[:, 0], target)[0] == "mse/mean"


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("criterion", "name"),
    [(nn.L1Loss(), "mae"), (nn.SmoothL1Loss(beta=0.5), "smooth_l1"), (nn.HuberLoss(delta=0.3), "huber")],
)
def test_every_output_against_every_target_by_other_distances(criterion, name):
    output, target = outputs(16, 1), outputs(16, seed=3)
    assert identified(criterion, output, target)[0] == f"{name}_broadcast/mean"
    assert identified(criterion, output, target[:, None])[0] == f"{name}/mean"



def test_regression_on_class_ids_and_on_one_hot():
    target = classes(16)

    class OnIds(nn.Module):
        def forward(self, output, wanted):
            return F.mse_loss(output[:, 0], wanted.float())

    class OneHot(nn.Module):
        def forward(self, output, wanted):
            return F.mse_loss(output, F.one_hot(wanted, 5).float())

    assert identified(OnIds(), outputs(16, 1), target)[0] == "mse/mean"
    assert identified(OneHot(), outputs(16, 5), target)[0] == "mse_one_hot/mean"


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_none_of_them():
    class Focal(nn.Module):
        def forward(self, output, target):
            nll = F.cross_entropy(output, target, reduction="none")
            return ((1 - (-nll).exp()) ** 2 * nll).mean()

    name, _, row = identified(Focal(), outputs(32, 5), classes(32))
    assert name is None
    assert row.values["loss_identity"] == -1
    assert "per_sample" not in row.lists
    half = outputs(32, 5).bfloat16()
    assert identified(nn.CrossEntropyLoss(), half, classes(32))[:2] == (None, None)
    assert identified(nn.MSELoss(), outputs(4), torch.tensor(0.0))[:2] == (None, None)


def test_the_way_of_a_device_finds_the_same():
    values = torch.tensor([3.0, 2.0, 2.00001, 7.0], dtype=torch.float64)
    codes = [(3, 30), (2, 20), (1, 10), (0, 0)]
    for loss, expected in ((2.0, 20), (3.0002, 0), (7.1, -1), (float("nan"), -1), (0.0, -1)):
        assert first_on_device(values, torch.tensor(loss, dtype=torch.float64), codes).item() == expected


def test_a_real_training_and_its_cadence():
    torch.manual_seed(0)
    model, criterion = nn.Linear(6, 3), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    told = Told(LossIdentity(lambda: [criterion]))
    inputs, targets = data()
    state = torch.get_rng_state()
    for i in range(40):
        row = told.row(dense=2 if i >= 38 else 1)
        if i == 38:
            criterion = nn.CrossEntropyLoss(reduction="sum")
        optimizer.zero_grad()
        moments(told, row, model, criterion, inputs, targets).backward()
        step(told, row, optimizer)
    seen = {i: IDENTITIES[int(code)] for i, code in enumerate(told.column("loss_identity")) if code is not None}
    assert seen == {0: "cross_entropy/mean", 16: "cross_entropy/mean", 32: "cross_entropy/mean"} | dict.fromkeys(
        (38, 39), "cross_entropy/sum"
    )
    assert torch.equal(state, torch.get_rng_state())


def test_the_codes_are_facts():
    assert identity_facts()["identities"][0] == "cross_entropy/mean"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([[0.5, 0.5], [0.9, 0.1]], "probabilities"),
        ([[0.5, 0.6]], "within 0..1"),
        ([[0.0, -float("inf")]], "log probabilities"),
        ([[-1.0, -0.0]], "anything"),
        ([[0.5, float("nan")], [0.5, 0.5]], "anything"),
        ([[float("inf"), 0.0]], "anything"),
        ([[float("nan"), -1.0]], "anything"),
        ([0.2, 1.0], "within 0..1"),
        ([0.2, 1.1], "anything"),
    ],
)
def test_the_kind_of_an_output(values, kind):
    found = output_kind(torch.tensor(values))
    assert found.dtype == torch.int64
    assert KINDS[int(found)] == kind
