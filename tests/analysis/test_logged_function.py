"""Trainings whose loss is a call of a function: nothing is watched but the model, and the causes decide as with a criterion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import bad_init, class_imbalance, label_noise, loss_misuse, lr_too_low, validation_aggregation
from tb_losslens.analysis.engine import build_context, diagnose
from tb_losslens.analysis.finding import Boundary
from tb_losslens.analysis.part_by_class import by_class_losses
from tb_losslens.record import cadence
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped
from tests.toys import dataset

Loss = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture(autouse=True)
def every_batch_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it depends on the load of the machine of which batches the losses of classes are read."""
    monkeypatch.setattr(cadence, "GRANT", 1e9)
    monkeypatch.setattr(cadence, "DEEP_GRANT", 1e9)


def net(*, scale: float = 1.0, width: int = 64, features: int = 64, out: int = 10) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, out))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def mean_over_samples(losses: list[float], sizes: list[int]) -> float:
    return float(np.average(losses, weights=sizes))


def record(
    directory: Path,
    *,
    loss: Loss = functional.cross_entropy,
    model: nn.Module | None = None,
    labels: Callable[[Tensor], Tensor] = lambda y: y,
    data: TensorDataset | None = None,
    lr: float = 2e-3,
    epochs: int = 4,
    samples: int = 1500,
    batch_size: int = 32,
    order: Callable[[TensorDataset], Iterable[int]] | None = None,
    watched: bool = False,
    wrapped: bool = True,
    held_out_mean: Callable[[list[float], list[int]], float] = mean_over_samples,
) -> Run:
    """An ordinary loop on digits, with `labels` in the place of the training labels; both losses are scalars.

    Args:
        directory: of the recording.
        loss: of output and target.
        model, data, lr, epochs, samples, batch_size: of the training.
        order: in which the samples come in each epoch, by default a new one.
        watched: the loss is a module, and the recorder is told of it.
        wrapped: the loaders are.
        held_out_mean: of the losses of the held-out batches and their sizes.
    """
    torch.set_num_threads(1)
    x, y, held_x, held_y = dataset("digits")
    torch.manual_seed(1)
    if data is None:
        data = TensorDataset(x[:samples], labels(y[:samples]))
    else:
        held_x, held_y = data.tensors
    net_ = model if model is not None else net()
    optimizer = torch.optim.Adam(net_.parameters(), lr=lr)
    made = nn.CrossEntropyLoss()
    compute: Loss = made if watched else loss
    train_loader: Iterable[tuple[Tensor, Tensor]] = DataLoader(
        data, batch_size=batch_size, **({"shuffle": True} if order is None else {"sampler": list(order(data))})
    )
    held_out: Iterable[tuple[Tensor, Tensor]] = DataLoader(TensorDataset(held_x, held_y), batch_size=128)
    step = 0
    with LossLensWriter(str(directory)) as writer:
        writer.watch(net_, optimizer, criterion=made if watched else None)
        if wrapped:
            train_loader, held_out = writer.wrap(train_loader), writer.wrap(held_out, split="val")
        for epoch in range(epochs):
            net_.train()
            for inputs, targets in train_loader:
                value = compute(net_(inputs), targets)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                writer.add_scalar("Loss/train", value.item(), step)
                step += 1
            net_.eval()
            with torch.no_grad():
                seen = [(compute(net_(inputs), targets).item(), len(targets)) for inputs, targets in held_out]
            writer.add_scalar("Loss/val", held_out_mean(*map(list, zip(*seen, strict=True))), epoch)
    return load_runs(directory)["."]


@cache
def healthy(epochs: int = 4) -> Run:
    """Nothing is wrong in it."""
    with TemporaryDirectory() as directory:
        return record(Path(directory), epochs=epochs)


def said(cause: ModuleType, run: Run) -> list[str]:
    """What a cause finds, and all that it says of it."""
    return [f"{f.kind} {f.strength} {f.detail}: {f.text} {'; '.join(map(str, f.evidence))}" for f in findings(cause, run)]


def drawn(share: float) -> Callable[[Tensor], Tensor]:
    """Labels of which this share is drawn at random."""

    def change(y: Tensor) -> Tensor:
        return torch.where(torch.rand(len(y)) < share, torch.randint(0, 10, (len(y),)), y)

    return change


def test_weights_that_begin_too_large(tmp_path: Path) -> None:
    run = record(tmp_path / "a", model=net(scale=10))
    (text,) = said(bad_init, run)
    assert "ln 10 = 2.3" in text
    assert diagnose(run).findings[0].cause == "bad_init"
    assert [text] == said(bad_init, record(tmp_path / "b", model=net(scale=10), watched=True))
    assert "that of the untrained output is ln 10 = 2.3" in checked(bad_init, healthy())


def test_a_learning_rate_that_is_too_low(tmp_path: Path) -> None:
    (finding,) = findings(lr_too_low, record(tmp_path, lr=1e-5, epochs=10))
    assert (finding.kind, finding.strength) == ("fault", "likely")
    assert "that of the best constant" in finding.text
    checked(lr_too_low, healthy(10))


def test_labels_of_which_some_are_wrong(tmp_path: Path) -> None:
    run = record(tmp_path / "a", labels=drawn(0.4), epochs=10)
    (finding,) = findings(label_noise, run)
    assert (finding.kind, finding.detail) == ("fault", "some")
    assert finding.missing == ()  # the samples with a high loss are listed
    assert said(label_noise, record(tmp_path / "b", labels=drawn(0.4), epochs=10, watched=True)) == said(label_noise, run)
    assert findings(label_noise, healthy(10)) == []


def test_labels_of_which_none_is_right(tmp_path: Path) -> None:
    run = record(
        tmp_path / "a", labels=lambda y: y[torch.randperm(len(y))], model=net(width=512), epochs=60, samples=600, lr=4e-3
    )
    (finding,) = findings(label_noise, run)
    assert (finding.kind, finding.detail) == ("fault", "all")


def test_a_held_out_loss_of_another_function_is_not_compared(tmp_path: Path) -> None:
    """The training loss is smoothed, and the held-out one is not: that it lies lower says nothing of the labels."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output, target, label_smoothing=0.1 * torch.is_grad_enabled())

    run = record(tmp_path, loss=loss, epochs=10)
    assert not findings(label_noise, run)
    assert "computed" in run.validations[-1].fields
    assert run.validations[-1].fields["computed"] > 1.5 * run.validations[-1].value


def unweighted(losses: list[float], _: list[int]) -> float:
    return float(np.mean(losses))


def of_last(losses: list[float], _: list[int]) -> float:
    return losses[-1]


def test_how_the_held_out_losses_were_averaged(tmp_path: Path) -> None:
    assert "the mean over samples in 4 of 4" in checked(validation_aggregation, healthy())
    (finding,) = findings(validation_aggregation, record(tmp_path / "b", held_out_mean=of_last))
    assert (finding.strength, finding.detail) == ("proved", "last_batch")
    assert "recorded beside its value" in skipped(validation_aggregation, record(tmp_path / "c", loss=smooth_max)).why


def smooth_max(output: Tensor, target: Tensor) -> Tensor:
    """A loss that is none of the known functions."""
    return functional.cross_entropy(output, target) + 1e-2 * output.square().mean()


def test_softmax_before_the_cross_entropy(tmp_path: Path) -> None:
    def twice(output: Tensor, target: Tensor) -> Tensor:
        return functional.cross_entropy(output.softmax(1), target)

    (finding,) = findings(loss_misuse, record(tmp_path, loss=twice))
    assert (finding.detail, finding.strength) == ("softmax_before_cross_entropy", "proved")
    assert "the right pair" not in checked(loss_misuse, healthy())


def test_of_a_loss_with_further_terms_nothing_is_claimed(tmp_path: Path) -> None:
    run = record(tmp_path, loss=smooth_max, model=net(scale=10))
    assert not run.has("loss_identity")
    assert "which was not recorded" in skipped(bad_init, run).why


def test_without_a_wrapped_loader_nothing_is_known(tmp_path: Path) -> None:
    assert not record(tmp_path, wrapped=False).has("loss_identity")


def clouds(shares: tuple[float, ...], apart: float, samples: int = 1600) -> TensorDataset:
    rng = np.random.default_rng(0)
    label = rng.choice(len(shares), samples, p=shares)
    centre = apart * rng.normal(size=(len(shares), 10))
    x = torch.tensor(centre[label] + rng.normal(size=(samples, 10)), dtype=torch.float32)
    return TensorDataset(x, torch.tensor(label))


def test_a_rare_class_that_is_neglected(tmp_path: Path) -> None:
    run = record(tmp_path, data=clouds((0.95, 0.05), 0.3, samples=2400), model=net(features=10, out=2), epochs=8)
    (finding,) = findings(class_imbalance, run)
    assert "by the losses of single samples" in finding.evidence[1]


def by_label(data: TensorDataset) -> Iterable[int]:
    """One class after the other, the last of them first."""
    return (-data.tensors[1]).argsort(stable=True).tolist()


def test_a_jump_by_what_each_class_lost(tmp_path: Path) -> None:
    data = clouds((0.7, 0.3), 0.5)
    runs = [
        record(tmp_path / name, data=data, model=net(features=10, out=2), order=by_label, watched=name == "watched")
        for name in ("logged", "watched")
    ]
    logged, watched = ([by_class_losses(run, boundary) for boundary in boundaries(run)] for run in runs)
    assert len(logged) == 3
    assert all(part is not None for part in logged)
    assert [str(part) for part in logged] == [str(part) for part in watched]


def boundaries(run: Run) -> tuple[Boundary, ...]:
    return tuple(build_context(run).boundaries)
