"""What is known of a loss that a function computed and that was only logged, in real trainings."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.record.signals.logged import LISTS, NUMBERS, Returns, Samples, kinds, log_batch, names, nothing_of, scalar, train


@pytest.mark.parametrize("log", [scalar, log_batch])
@pytest.mark.parametrize("kind", [nn.CrossEntropyLoss, None])
def test_all_that_a_watched_criterion_tells(recorded, log, kind):
    """The loss is that of a function, or of a module that is not watched."""
    criterion = nn.CrossEntropyLoss()
    watched = train(recorded(), criterion=criterion, loss_of=lambda model, x, y: criterion(model(x), y))
    compute = F.cross_entropy if kind is None else kind()
    run = train(recorded(), log=log, loss_of=lambda model, x, y: compute(model(x), y))
    assert len(names(run)) == len(run) == 21  # all of them are near a boundary
    assert set(names(run).values()) == {"cross_entropy/mean"}
    for name in NUMBERS:
        assert np.allclose(run.float(name), watched.float(name), rtol=1e-5), name
    for name in LISTS:
        for row in range(len(run)):
            assert np.allclose(run.ragged[name][row], watched.ragged[name][row], rtol=1e-4, atol=1e-6), (name, row)
    assert len(run.ragged["per_sample"][6]) == 4
    assert set(run.columns) | set(run.ragged) == (set(watched.columns) | set(watched.ragged)) - {"logged_loss"}


def test_the_cadence_is_that_of_a_criterion(recorded):
    run = train(recorded(), data=Samples(1600), epochs=1)
    assert list(names(run)) == [*range(10), 16, 32, 48, 64, 80, *range(90, 100)]


@pytest.mark.parametrize(
    ("loss_of", "amounts", "name"),
    [
        (lambda model, x, y: F.cross_entropy(model(x), y, label_smoothing=0.1), False, "cross_entropy_smoothed/mean"),
        (lambda model, x, y: F.cross_entropy(model(x), y, reduction="sum"), False, "cross_entropy/sum"),
        (lambda model, x, y: F.cross_entropy(model(x).softmax(1), y), False, "cross_entropy_of_softmax/mean"),
        (lambda model, x, y: F.mse_loss(model(x)[:, 0], y), True, "mse/mean"),
        (lambda model, x, y: (model(x).squeeze(1) - y).abs().mean(), True, "mae/mean"),
        (lambda model, x, y: F.mse_loss(model(x), y), True, "mse_broadcast/mean"),
        (lambda model, x, y: F.binary_cross_entropy_with_logits(model(x)[:, 0], (y > 0).float()), False, ""),
        (lambda model, x, y: F.binary_cross_entropy_with_logits(model(x)[:, 0], y.clamp(0, 1).float()), False, ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_functions_by_name(recorded, loss_of, amounts, name):
    """Targets that the loop computes anew are not those of the loader: nothing is said of that loss."""
    model = Returns(classes=1 if amounts or not name else 3)
    run = train(recorded(), model=model, loss_of=loss_of, data=Samples(amounts=amounts))
    if name:
        assert set(names(run).values()) == {name}
        assert len(names(run)) == len(run)
    else:
        assert nothing_of(run)


@pytest.mark.parametrize("probable", [False, True])
def test_the_kind_of_the_output(recorded, probable):
    model = Returns(lambda out: out.softmax(1) if probable else out)
    assert kinds(train(recorded(), model=model)) == {"probabilities" if probable else "anything"}


@pytest.mark.parametrize(
    ("form", "chosen"),
    [
        (lambda out: {"logits": out, "hidden": out * 2}, lambda said: said["logits"]),
        (lambda out: SimpleNamespace(loss=None, logits=out), lambda said: said.logits),
        (lambda out: (out, None), lambda said: said[0]),
    ],
)
@pytest.mark.parametrize("key", ["labels", "label", "target", "targets", "y"])
def test_outputs_and_batches_of_other_forms(recorded, form, chosen, key):
    run = train(
        recorded(),
        model=Returns(form),
        data=Samples(form=lambda x, y: {"inputs": x, key: y}),
        parts=lambda batch: (batch["inputs"], batch[key]),
        loss_of=lambda model, x, y: F.cross_entropy(chosen(model(x)), y),
    )
    assert set(names(run).values()) == {"cross_entropy/mean"}
    assert run.has("class_losses")


def test_an_output_of_half_precision_whose_loss_is_not(recorded):
    def loss_of(model, x, y):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = model(x)
            assert out.dtype is torch.bfloat16
            return F.cross_entropy(out, y)

    assert set(names(train(recorded(), loss_of=loss_of)).values()) == {"cross_entropy/mean"}


def test_a_loss_of_half_precision_is_left_out(recorded):
    model = Returns().bfloat16()
    run = train(recorded(), model=model, loss_of=lambda model, x, y: F.cross_entropy(model(x.bfloat16()), y), epochs=12)
    assert nothing_of(run)


@pytest.mark.parametrize("part", [1, 4])
def test_a_loss_that_is_divided_before_it_is_logged(recorded, part):
    run = train(recorded(), loss_of=lambda model, x, y: F.cross_entropy(model(x), y) / part)
    assert nothing_of(run) == (part > 1)


@pytest.mark.parametrize("rest", [0, 9])
def test_a_loss_that_is_logged_in_one_batch_of_ten(recorded, rest):
    def log(writer, loss, step):
        if step % 10 == rest:
            writer.add_scalar("Loss/train", loss.item(), step)

    one = recorded(loss_tag="Loss/train")
    run = train(one, data=Samples(1600), log=log, epochs=1)
    assert set(np.flatnonzero(np.isfinite(run.loss))) == set(range(rest, 100, 10))
    found = names(run)
    assert set(found.values()) == {"cross_entropy/mean"}
    assert len(found) >= 5
