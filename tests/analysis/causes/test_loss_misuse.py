"""Criteria that are given what they are not made for, in real trainings, beside the same trainings with the right pair."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import loss_misuse
from tb_losslens.analysis.engine import diagnose
from tb_losslens.events.columns import how_to_record
from tb_losslens.store.run import Ragged, Run
from tests.analysis.contexts import checked, findings, skipped
from tests.analysis.recorded import Change, record
from tests.toys import dataset


def net(*last: nn.Module, width: int = 64, out: int = 10) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, out), *last)


class Numbers(nn.MSELoss):
    """Squared errors of the class numbers."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return super().forward(output, target.float())


class OneHot(nn.MSELoss):
    """Squared errors of one output for each class."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return super().forward(output, nn.functional.one_hot(target, 10).float())


def above(least: int) -> Change:
    """Targets of 0 and 1, as floats."""
    return lambda _, x, y: (x, (y > least).float())


ONE = nn.Flatten(0)
"""From shape (n, 1) to (n,)."""


class Inside(nn.Module):
    """Takes the softmax itself, before a criterion that takes it again."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(output.softmax(1), target)


def test_a_softmax_before_the_cross_entropy_is_proved(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(nn.Softmax(1)))
    (finding,) = findings(loss_misuse, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "softmax_before_cross_entropy")
    assert not finding.explains_jump
    assert f"{math.log1p(9 / math.e):.4g}" in finding.evidence[1]
    assert diagnose(run).findings[0].cause == "loss_misuse"


def test_its_healthy_twin_has_the_right_pair(tmp_path: Path) -> None:
    assert "is of the kind that it takes" in checked(loss_misuse, record(tmp_path, model=net()))


def test_label_smoothing_does_not_hide_it(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(nn.Softmax(1)), criterion=nn.CrossEntropyLoss(label_smoothing=0.1))
    (finding,) = findings(loss_misuse, run)
    assert finding.detail == "softmax_before_cross_entropy"
    assert not any("cannot go below" in line for line in finding.evidence), "smoothing has another floor"


def test_label_smoothing_alone_is_none(tmp_path: Path) -> None:
    run = record(tmp_path, model=net(), criterion=nn.CrossEntropyLoss(label_smoothing=0.3))
    assert "cross entropy smoothed" in checked(loss_misuse, run)


def test_a_criterion_that_takes_the_softmax_itself(tmp_path: Path) -> None:
    (finding,) = findings(loss_misuse, record(tmp_path, model=net(), criterion=Inside()))
    assert (finding.strength, finding.detail) == ("proved", "softmax_before_cross_entropy")


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), nn.NLLLoss()])
def test_log_probabilities_are_harmless_before_either_criterion(tmp_path: Path, criterion: nn.Module) -> None:
    run = record(tmp_path, model=net(nn.LogSoftmax(1)), criterion=criterion)
    assert "the right pair" in checked(loss_misuse, run)


@pytest.mark.parametrize(("last", "detail"), [((), "nll_of_logits"), ((nn.Softmax(1),), "nll_of_probabilities")])
def test_nll_without_the_logarithm(tmp_path: Path, last: tuple[nn.Module, ...], detail: str) -> None:
    (finding,) = findings(loss_misuse, record(tmp_path, model=net(*last), criterion=nn.NLLLoss()))
    assert (finding.strength, finding.detail) == ("proved", detail)


def test_a_sigmoid_before_the_cross_entropy_is_likely(tmp_path: Path) -> None:
    (finding,) = findings(loss_misuse, record(tmp_path, model=net(nn.Sigmoid())))
    assert (finding.strength, finding.detail) == ("likely", "sigmoid_before_cross_entropy")


def test_logits_that_stay_small_are_no_sigmoid(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = net()
    with torch.no_grad():
        model[2].weight.mul_(0.01)
        model[2].bias.fill_(0.5)
    run = record(tmp_path, model=model, optimizer="sgd", lr=1e-3)
    assert np.isin(run.float("output_kind"), (3, np.nan)).any()
    checked(loss_misuse, run)


@pytest.mark.parametrize("least", [4, 8])
def test_a_sigmoid_before_bce_with_logits(tmp_path: Path, least: int) -> None:
    model = net(ONE, nn.Sigmoid(), out=1)
    run = record(tmp_path, model=model, criterion=nn.BCEWithLogitsLoss(), change=above(least))
    (finding,) = findings(loss_misuse, run)
    assert (finding.strength, finding.detail) == ("likely", "sigmoid_twice")


@pytest.mark.parametrize("least", [4, 8])
def test_it_is_found_where_the_share_of_positives_is_not_known(tmp_path: Path, least: int) -> None:
    model = net(ONE, nn.Sigmoid(), out=1)
    run = record(tmp_path, model=model, criterion=nn.BCEWithLogitsLoss(), change=above(least))
    columns = {name: column for name, column in run.columns.items() if not name.startswith("target")}
    (finding,) = findings(loss_misuse, replace(run, columns=columns))
    assert "of single samples lie at" in finding.evidence[1]


@pytest.mark.parametrize("least", [2, 4, 8])
def test_logits_and_probabilities_with_their_own_criterion(tmp_path: Path, least: int) -> None:
    right = record(tmp_path / "a", model=net(ONE, out=1), criterion=nn.BCEWithLogitsLoss(), change=above(least))
    assert "bce with logits" in checked(loss_misuse, right)
    also = record(tmp_path / "b", model=net(ONE, nn.Sigmoid(), out=1), criterion=nn.BCELoss(), change=above(least))
    assert "the loss is the bce of the output" in checked(loss_misuse, also)


def test_probabilities_of_all_classes_before_bce_with_logits_are_proved(tmp_path: Path) -> None:
    run = record(
        tmp_path, model=net(nn.Softmax(1)), criterion=nn.BCEWithLogitsLoss(),
        change=lambda _, x, y: (x, nn.functional.one_hot(y, 10).float()),
    )  # fmt: skip
    (finding,) = findings(loss_misuse, run)
    assert (finding.strength, finding.detail) == ("proved", "sigmoid_twice")


def test_regression_on_class_numbers_is_likely(tmp_path: Path) -> None:
    (finding,) = findings(loss_misuse, record(tmp_path, model=net(ONE, out=1), criterion=Numbers()))
    assert (finding.strength, finding.detail) == ("likely", "class_numbers")
    assert "0 to 9" in finding.evidence[1]


def test_squared_errors_of_one_hot_targets_are_right(tmp_path: Path) -> None:
    assert "mse" in checked(loss_misuse, record(tmp_path, model=net(nn.Softmax(1)), criterion=OneHot()))


def test_an_autoencoder_whose_loader_gives_classes_is_no_regression_on_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, y, _, _ = dataset("digits")
    model = net(out=64)
    optimizer, criterion = torch.optim.Adam(model.parameters()), nn.MSELoss()
    with LossLensWriter(str(tmp_path)) as writer:
        writer.watch(model, optimizer, criterion=criterion)
        for inputs, _ in writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)):
            optimizer.zero_grad()
            criterion(model(inputs), inputs).backward()
            optimizer.step()
    (run,) = load_runs(str(tmp_path)).values()
    assert run.has("classes")
    assert "where these are the targets" in checked(loss_misuse, run)


def test_whole_numbers_that_are_not_equally_frequent_are_not_judged(tmp_path: Path) -> None:
    def grade(i: int, x: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        return x, (x.mean() * 20).long().clamp(3, 9) - 3

    run = record(tmp_path, model=net(ONE, out=1), criterion=Numbers(), change=grade)
    assert "right for amounts and wrong for names" in checked(loss_misuse, run)


def test_an_output_that_is_compared_with_every_target(tmp_path: Path) -> None:
    model = net(nn.Unflatten(1, (1, 1)), width=10, out=1)
    with pytest.warns(UserWarning, match="target size"):
        run = record(tmp_path, data="regression", model=model)
    (finding,) = findings(loss_misuse, run)
    assert (finding.strength, finding.detail) == ("proved", "broadcast")


def test_the_same_regression_with_one_shape(tmp_path: Path) -> None:
    assert "mse of the output" in checked(loss_misuse, record(tmp_path, data="regression", model=net(width=10, out=1)))


def floor_run(lowest: float) -> Run:
    """Losses of ten classes from ln 10 down to just above `lowest`, with no function known."""
    rng = np.random.default_rng(0)
    loss = lowest + (math.log(10) - lowest) * np.exp(-np.arange(400) / 20) + 0.005 * rng.exponential(size=400)
    classes = Ragged.from_lists([[[c, 3] for c in range(10)]] * 400)
    run = Run.from_arrays(loss=loss, epoch_length=50)
    return replace(run, ragged={"classes": classes})


def test_losses_that_press_on_the_floor_are_possible_where_no_function_is_known() -> None:
    (finding,) = findings(loss_misuse, floor_run(math.log1p(9 / math.e)))
    assert (finding.strength, finding.detail) == ("possible", "softmax_before_cross_entropy")
    assert finding.missing == (how_to_record("loss_identity"),)


@pytest.mark.parametrize("lowest", [1.2, 1.44, 1.6])
def test_a_floor_elsewhere_is_none(lowest: float) -> None:
    assert "not recorded" in skipped(loss_misuse, floor_run(lowest)).why
