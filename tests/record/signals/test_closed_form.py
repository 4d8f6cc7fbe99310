import pytest
import torch
from torch import nn

from tb_losslens.record.signals.closed_form import NoForm, closed_form

LR = torch.optim.lr_scheduler
CLASSES = {
    "step": lambda o: LR.StepLR(o, 3, 0.5),
    "milestones": lambda o: LR.MultiStepLR(o, [3, 7, 7], 0.5),
    "constant": lambda o: LR.ConstantLR(o, 0.3, 4),
    "linear": lambda o: LR.LinearLR(o, 0.1, 0.9, 5),
    "exponential": lambda o: LR.ExponentialLR(o, 0.9),
    "polynomial": lambda o: LR.PolynomialLR(o, 9, 2.0),
    "cosine": lambda o: LR.CosineAnnealingLR(o, 10, 1e-3),
    "restarts": lambda o: LR.CosineAnnealingWarmRestarts(o, 3, 2, 1e-4),
    "one cycle": lambda o: LR.OneCycleLR(o, [0.2, 0.1], 60),
    "one cycle of three": lambda o: LR.OneCycleLR(o, 0.2, 60, three_phase=True, anneal_strategy="linear"),
    "triangles": lambda o: LR.CyclicLR(o, 0.01, 0.1, 7, 4),
    "halved triangles": lambda o: LR.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2"),
    "shrinking triangles": lambda o: LR.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.99),
    "one after the other": lambda o: LR.SequentialLR(
        o, [LR.LinearLR(o, 0.1, 1, 5), LR.StepLR(o, 4), LR.CosineAnnealingWarmRestarts(o, 5)], [5, 20]
    ),
    "one times the other": lambda o: LR.ChainedScheduler([LR.LinearLR(o, 0.1, 1, 5), LR.ExponentialLR(o, 0.9)]),
}


def sgd():
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": lr} for lr in (0.1, 0.03)]
    return torch.optim.SGD(groups, momentum=0.9)


@pytest.mark.parametrize("name", CLASSES)
def test_against_what_torch_sets_step_by_step(name):
    optimizer = sgd()
    scheduler = CLASSES[name](optimizer)
    for _ in range(59):
        assert closed_form([scheduler]) == pytest.approx([group["lr"] for group in optimizer.param_groups], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_two_schedulers_side_by_side_multiply():
    optimizer = sgd()
    both = [LR.LinearLR(optimizer, 0.1, 1, 5), LR.MultiStepLR(optimizer, [4, 9])]
    for _ in range(12):
        assert closed_form(both) == pytest.approx([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        for one in both:
            one.step()


def test_rates_between_two_steps_of_restarts():
    optimizer = sgd()
    scheduler = LR.CosineAnnealingWarmRestarts(optimizer, 3)
    optimizer.step()
    for part in range(20):
        scheduler.step(part / 4)
        assert closed_form([scheduler]) == pytest.approx([group["lr"] for group in optimizer.param_groups])


@pytest.mark.parametrize("name", CLASSES)
def test_rates_on_a_device_are_not_waited_for(name):
    optimizer = sgd()
    scheduler = CLASSES[name](optimizer)
    for one in (scheduler, *getattr(scheduler, "_schedulers", ())):
        one.base_lrs = [torch.tensor(0.1, device="meta")] * 2
    with pytest.raises(NoForm, match="waited for"):
        closed_form([scheduler])
    if name.startswith("one cycle"):
        scheduler.base_lrs = [0.1, 0.1]
        for group in optimizer.param_groups:
            group["max_lr"] = torch.tensor(0.1, device="meta")
        with pytest.raises(NoForm, match="waited for"):
            closed_form([scheduler])


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda o: [LR.LambdaLR(o, lambda n: 0.9**n)], "not called"),
        (lambda o: [LR.ReduceLROnPlateau(o)], "metric"),
        (lambda o: [LR.CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda x: 1 / x)], "not called"),
        (lambda o: [LR.LinearLR(o), LR.CosineAnnealingLR(o, 9, 1e-3)], "no factor"),
        (lambda o: [type("StepLR", (LR.StepLR,), {})(o, 3)], "no scheduler of torch"),
        (lambda o: [LR.ChainedScheduler([LR.LinearLR(o), LR.LambdaLR(o, lambda n: 1)])], "no factor"),
    ],
)
def test_without_a_formula_the_reason_is_told(make, why):
    with pytest.raises(NoForm, match=why):
        closed_form(make(sgd()))
