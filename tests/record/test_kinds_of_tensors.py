"""Tensors of every kind, from a loader and in the user's own calls: each costs at most what would be told of it."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tb_losslens.record.writer import LossLensWriter
from tb_losslens.store.logdir import load_runs
from tests.record.fault_training import same

META = {"device": "meta"}


def inference():
    with torch.inference_mode():
        return torch.ones(4, 4), torch.ones(4)


def quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch will take them away
        return [torch.quantize_per_tensor(x, 0.1, 0, torch.quint8) for x in (torch.eye(4), torch.ones(4))]


KINDS = {
    "sparse inputs": lambda: (torch.eye(4).to_sparse(), torch.zeros(4, dtype=torch.long)),
    "sparse targets": lambda: (torch.eye(4), torch.eye(4).to_sparse()),
    "sparse rows": lambda: (torch.eye(4).to_sparse_csr(), torch.eye(4).to_sparse_csr()),
    "nested": lambda: (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), torch.ones(2)),
    "jagged": lambda: (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), torch.ones(2)),
    "complex": lambda: (torch.ones(4, 4, dtype=torch.complex64), torch.ones(4, dtype=torch.complex64)),
    "meta": lambda: (torch.ones(4, 4, **META), torch.ones(4, **META)),
    "quantized": quantized,
    "truths": lambda: (torch.ones(4, 4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)),
    "eight bits": lambda: (torch.ones(4, 4).to(torch.float8_e4m3fn), torch.ones(4).to(torch.float8_e4m3fn)),
    "unsigned": lambda: (torch.ones(4, 4).to(torch.uint64), torch.ones(4).to(torch.uint16)),
    "no tensors": lambda: (["a", "b"], [None, object()]),
    "empty": lambda: (torch.ones(0, 4), torch.ones(0, dtype=torch.long)),
    "numbers": lambda: (torch.tensor(1.0), torch.tensor(1)),
    "inference": inference,
    "leaves": lambda: (torch.ones(4, 4, requires_grad=True), nn.Parameter(torch.ones(4))),
}


class Net(nn.Module):
    """Takes whatever it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, inputs):
        return self.weight * 2


class Criterion(nn.Module):
    def forward(self, output, target):
        return output.sum()


def train(make, writer=None):
    model, criterion = Net(), Criterion()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader, held_out = [make() for _ in range(6)], [make() for _ in range(2)]
    if writer is not None:
        writer.watch(model, optimizer, criterion=criterion)
        loader, held_out = writer.wrap(loader), writer.wrap(held_out, split="val")
    for _ in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
        with torch.no_grad():
            for inputs, targets in held_out:
                criterion(model(inputs), targets)
    return list(model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_loader_of_them(kind, tmp_path):
    plain = train(KINDS[kind])
    with LossLensWriter(str(tmp_path / "run")) as writer:
        assert same(train(KINDS[kind], writer), plain)
        assert writer._guard.disabled == {}
    run = load_runs(tmp_path)["run"]
    assert len(run) == 18
    assert np.isfinite(run.loss).all()
    assert len(run.validations) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_given_to_log_batch(kind, recorded):
    one = recorded()
    inputs, targets = KINDS[kind]()
    if kind == "no tensors":
        inputs = targets = None
    hidden = inputs if kind not in ("jagged", "quantized", "no tensors") else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.writer.log_batch(1.0, inputs=inputs, targets=targets, hidden=hidden)
    one.writer.log_batch(2.0)
    assert one.run().loss.tolist() == [1.0, 2.0]


def test_a_hidden_state_that_has_no_norm_costs_no_row(tmp_path):
    hidden = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)
    with LossLensWriter(str(tmp_path)) as writer:
        with pytest.warns(RuntimeWarning, match=r"log_batch\(hidden=...\) is not recorded") as said:
            writer.log_batch(0.0, hidden=hidden)
        assert len(said) == 1
        for step in (1, 2):
            writer.log_batch(float(step), hidden=hidden)
    assert load_runs(tmp_path)["."].loss.tolist() == [0, 1, 2]


REFUSED = [
    (lambda w: w.log_batch(1.0, per_sample=torch.ones(4, **META)), ValueError, r"per_sample=...\) expects numbers.* meta"),
    (lambda w: w.log_batch(1.0, sample_ids=torch.ones(4, dtype=torch.long, **META)), ValueError, "sample_ids.* meta device"),
    (lambda w: w.log_batch(1.0, per_sample=torch.ones(4, dtype=torch.complex64)), TypeError, "one number a sample.*complex64"),
    (lambda w: w.log_batch(1.0, per_sample=np.ones(4, complex)), TypeError, "one number a sample, got ndarray"),
    (lambda w: w.log_batch(np.ones(128)), TypeError, r"got ndarray of shape \(128,\)"),
    (lambda w: w.log_batch(torch.ones(0, **META)), ValueError, r"got a tensor of shape \(0,\)"),
    (lambda w: w.log_validation(torch.ones((), **META)), ValueError, r"log_validation\(value\) expects numbers, .* meta"),
    (lambda w: w.log_validation(torch.ones(128)), TypeError, r"one element, got Tensor of shape \(128,\)"),
    (lambda w: w.log_validation(1.0, batch_losses=torch.ones(3, **META)), ValueError, "batch_losses.* meta device"),
    (lambda w: w.log_validation(1.0, batch_losses=[[1, 2], [3]]), TypeError, r"log_validation\(batch_losses=...\).*got list"),
    (lambda w: w.set_probe((torch.ones(3, 1, **META), torch.ones(3))), TypeError, "train_batch=.*the meta device"),
]


@pytest.mark.parametrize(("call", "error", "sentence"), REFUSED, ids=[sentence[:30] for _, _, sentence in REFUSED])
def test_what_has_no_numbers_is_refused_with_a_sentence(call, error, sentence, recorded):
    one = recorded()
    one.writer.log_batch(1.0)
    with pytest.raises(error, match=sentence):
        call(one.writer)
    one.writer.log_batch(2.0)
    assert one.run().loss.tolist() == [1.0, 2.0]


def test_numbers_that_are_not_plain_are_taken(recorded):
    one = recorded()
    leaf = torch.tensor(3.0, requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.writer.log_batch(torch.ones(1).to_sparse(), per_sample=torch.ones(4).to_sparse())
        one.writer.log_batch(2.0, per_sample=[leaf, leaf * 2], sample_ids=[torch.tensor(7), torch.tensor(8)])
        one.writer.log_batch(torch.ones((), **META))  # its shape is right, and there is no number
        one.writer.add_scalar("Loss/val", torch.ones((), **META), 0)
        one.writer.log_validation(leaf, batch_losses=[leaf, leaf])
    run = one.run()
    np.testing.assert_array_equal(run.loss, [1.0, 2.0, np.nan])
    assert run.ragged["per_sample"][1].tolist() == [3.0, 6.0]
    assert [validation.value for validation in run.validations] == [3.0]


class Broken:
    def __str__(self):
        raise RuntimeError("no text")


def test_texts_that_no_file_can_hold(recorded):
    """A path that is not UTF-8, as Python reads it from the system, and an object that cannot say what it is."""
    one = recorded()
    one.writer.log_batch(1.0)
    path = b"caf\xe9.pt".decode("utf-8", "surrogateescape")
    one.writer.note(f"saved {path}", kind="save", path=path, by=Broken())
    one.writer.watch(config={"data": path, "by": Broken()})
    one.writer.flush()
    one.writer.log_batch(2.0)
    run = one.run()
    assert run.loss.tolist() == [1.0, 2.0]
    (save,) = [event for event in run.events if event.kind == "save"]
    assert (save.text, save.fields["path"]) == ("saved caf?.pt", "caf?.pt")
    assert save.fields["by"] == "Broken without a text (RuntimeError)"
    assert run.facts["config"]["data"] == "caf?.pt"


def test_a_directory_that_is_not_utf_8(tmp_path):
    directory = b"run\xe9".decode("utf-8", "surrogateescape")
    with LossLensWriter(str(tmp_path / directory)) as writer:
        writer.log_batch(1.0)
        assert writer._guard.disabled == {}
    assert load_runs(tmp_path)[directory].loss.tolist() == [1.0]


def test_a_directory_that_is_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with LossLensWriter(7) as writer:
        writer.log_batch(1.0)
    assert load_runs(tmp_path)["7"].loss.tolist() == [1.0]
