"""Nothing waits for a device: neither what is written in the code nor what a training calls.

A tensor on the meta device has a shape and no numbers, so that whatever would read one, and make a device wait, raises.
Everything else goes the way that it goes on a CUDA device.
"""

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import tb_losslens.record
from tb_losslens.record.late_list import LateList
from tb_losslens.record.measures import total_norm, values_of_sparse
from tb_losslens.record.signals import logged_loss
from tb_losslens.record.signals.bit_sum import _sum, _words
from tests.record.training import events, loader

META = torch.device("meta")


@pytest.fixture
def device(monkeypatch):
    """The meta device in the place of one that has numbers; zeros stand for those that it would send to the host."""

    def on_its_way(self, tensor):
        self._host, self._event, self._then = torch.zeros(tensor.shape), None, None

    monkeypatch.setattr(
        torch.Tensor, "is_meta", property(lambda self: False), raising=False
    )  # the recorder leaves such tensors out
    monkeypatch.setattr(LateList, "__init__", on_its_way)
    return META


class Words(nn.Module):
    """An embedding, normalisation, and two heads that take turns: which parameters have a gradient is not always the same."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.norm = nn.BatchNorm1d(8)
        self.heads = nn.ModuleList(nn.Linear(8, 3) for _ in range(2))
        self.calls = 0

    def forward(self, words):
        self.calls += 1
        return self.heads[self.calls % 2](self.norm(self.embed(words).mean(1)))


def image_net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(), nn.Linear(144, 3))


def images():
    return TensorDataset(torch.randn(48, 3, 8, 8), torch.arange(48) % 3)


def words():
    return TensorDataset(torch.arange(48 * 5).reshape(48, 5) % 50, torch.arange(48) % 3)


KINDS = {
    "images": (image_net, images, nn.CrossEntropyLoss, torch.optim.Adam),
    "words": (Words, words, nn.CrossEntropyLoss, torch.optim.SGD),
    "numbers": (image_net, images, nn.MSELoss, torch.optim.RMSprop),
}


@pytest.mark.parametrize("way", ["plain", "accumulated", "logged", "clipped", "by closure"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_training_reads_no_number_of_its_device(kind, way, recorded, device):
    make, data, criterion, optimizer = KINDS[kind]
    one, model, criterion = recorded(), make().to(device), criterion()
    optimizer = optimizer(model.parameters(), 0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    batches = one.writer.wrap(loader(data(), 8))
    for _ in range(3):
        for number, (inputs, targets) in enumerate(batches):
            given, answers = inputs.to(device), targets.to(device)
            if kind == "numbers":
                answers = nn.functional.one_hot(targets, 3).float().to(device)

            def closure(given=given, answers=answers):
                loss = criterion(model(given), answers)
                loss.backward()
                return loss

            if way == "by closure":
                optimizer.step(closure)
                continue
            loss = closure()
            if way == "logged":
                one.writer.log_batch(loss, inputs=given, targets=answers, per_sample=model(given).sum(1), hidden=given, my=loss)
            if way == "clipped":
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if way != "accumulated" or number % 2:
                optimizer.step()
                optimizer.zero_grad()
    run = one.run()  # which asserts that no collector has failed
    assert len(run) == 18 if way != "accumulated" else len(run) > 0
    assert (run.float("dense") > 0).sum() > 9
    assert "layer_grad_norm" in run.ragged
    assert len(events(run, "epoch_end")) == 3


@pytest.mark.parametrize("kind", ["images", "words"])
def test_neither_does_a_loss_that_is_only_logged(kind, recorded, device, monkeypatch):
    computed, losses_by = [], logged_loss.losses_by

    def counted(functions, output, *more):
        computed.append(output.device.type)
        return losses_by(functions, output, *more)

    monkeypatch.setattr(logged_loss, "losses_by", counted)
    monkeypatch.setattr(logged_loss, "comes_unasked", lambda _: True)
    make, data, _, _ = KINDS[kind]
    one, model = recorded(), make().to(device)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one.writer.watch(model, optimizer)
    for inputs, targets in one.writer.wrap(loader(data(), 8)):
        answers = targets.to(device)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs.to(device)), answers)
        loss.backward()
        optimizer.step()
        one.writer.log_batch(loss, targets=answers)
    assert len(one.run()) == 6  # which asserts that no collector has failed
    assert computed == ["meta"] * 5  # of the first batch it was not known that it would be given targets


def test_norms_of_gradients_on_several_devices_stay_where_they_are():
    here, there = torch.ones(3), torch.ones(5, device=META)
    for gradients in ([here, there], [there, here], [there] * 40, [here, there, here]):
        norm = total_norm(gradients)
        assert isinstance(norm, torch.Tensor)
        assert norm.device == META
        assert norm.shape == ()


@pytest.mark.parametrize("shape", [(7,), (7, 4), (7, 4, 2)])
def test_values_of_one_place_are_added_up_without_a_look_at_how_many_there_are(shape, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    dense = 1 if len(shape) > 1 else 0
    indices = torch.stack([torch.randint(0, size, (40,), generator=generator) for size in shape[: len(shape) - dense]])
    values = torch.randn(40, *shape[len(shape) - dense :], generator=generator)
    whole = torch.sparse_coo_tensor(indices, values, shape).coalesce().values()

    # what is asked of a sparse tensor, which the meta device has only without places
    parts = {"_values": lambda: values, "_indices": lambda: indices, "is_coalesced": lambda: False}
    elsewhere = SimpleNamespace(device=META, shape=torch.Size(shape), **parts)
    monkeypatch.setattr(torch.Tensor, "__bool__", None)
    found = values_of_sparse(elsewhere)
    np.testing.assert_allclose(found[: len(whole)].numpy(), whole.numpy(), rtol=1e-5, atol=1e-6)
    assert not found[len(whole) :].numpy().any()


@pytest.mark.parametrize("size", [3, 5_000, 100_000])
def test_the_bits_of_tensors_are_added_up_on_their_device(size):
    assert _sum(_words(torch.zeros(size, device=META)), 1 << 16).device == META


# --- what is written in the code ------------------------------------------------------------------------------------------

ROOT = Path(tb_losslens.record.__file__).parent

READS = {"item", "tolist", "cpu", "nonzero", "equal", "allclose", "unique", "masked_select", "synchronize", "coalesce", "numpy"}
"""Calls that read numbers, whichever device has them."""

CHECKS = ("device.type", "is_cpu")
"""What a function says that reads a tensor of the CPU only."""

ALLOWED = {
    # of what is no tensor
    "arguments.py:number": "of an array of numpy",
    "batch_arguments.py:check_batch": "of a number of Python",
    "batch_arguments.py:_column": "of a truth of Python or numpy",
    "backward_use.py:_will_run": "of an answer of the engine",
    "deferred.py:Deferred.ready": "of whether the device is there yet",
    "evaluations.py:Evaluations.is_aside": "of a tuple",
    "facts.py:model_facts": "of a rate of dropout",
    "facts.py:optimizer_facts": "of a mapping",
    "feed.py:Feed.busy": "of a list",
    "feed.py:Feed.undecided": "of a list",
    "lane_rows.py:LaneRows.settle": "of an array of numpy",
    "late_list.py:LateList.ready": "of whether the device is there yet",
    "lead.py:Lead.several": "of a list",
    "lead.py:Lead.undecided": "of a list",
    "loader_facts.py:loader_facts": "of a setting",
    "loader_facts.py:_shuffles": "of a setting",
    "loss_search.py:LossSearch.settle": "of a list",
    "loss_search.py:LossSearch._use": "of a list",
    "order.py:OrderDigest._digest": "of an array of numpy",
    "signals/amp.py:LossScale._fell": "a scale on a device has left before",
    "signals/batchnorm.py:_Layout.compare": "of an array of numpy",
    "signals/class_losses.py:largest_loss": "of an array of numpy",
    "signals/class_losses.py:class_losses": "of an array of numpy",
    "signals/config_values.py:_model": "of a number of Python",
    "signals/input_relation.py:relation": "of arrays of numpy",
    "signals/input_relation.py:_line": "of arrays of numpy",
    "signals/layers.py:Layers.step_ends": "of an array of numpy: a tensor has left before",
    "signals/loss_identity.py:first_on_device": "of a number of Python",
    "signals/loss_identity.py:settings_of": "of a setting",
    "signals/logged_loss.py:LoggedLoss._is_off": "of a list",
    "signals/logged_loss.py:LoggedLoss.completes": "of a list",
    "signals/logged_loss.py:LoggedLoss._compare": "of an array of numpy",
    "signals/logged_loss.py:_has_half_precision": "of a number of Python",
    "signals/micro_batches.py:MicroBatches.backward_begins": "of a number of Python",
    "signals/micro_batches.py:MicroBatches.step_begins": "of a truth of Python",
    "signals/rng.py:rng_digests": "the state of a generator is on the host, also that of a CUDA device",
    "signals/rng.py:generator_digests": "the state of a generator is on the host",
    "signals/rng.py:worker_seed": "of a setting",
    "step.py:Steps._into": "of a set",
    "step.py:Steps._is_over": "of a set",
    "step.py:Steps._new": "of a number of Python",
    "turns.py:Turns._within": "of a lock",
    "watch.py:Watch._take_models": "of a list",
    "watch.py:Watch.add_optimizers": "of a list",
    "watch.py:Watch.add_criteria": "of a list",
    "watch.py:Watch._take_schedulers": "of a list",
    # whose caller has asked for the device
    "gradient_norms.py:GradientNorms.at_step": "only of tensors that settle found on the CPU",
    "measures.py:_cpu_moments": "only for a tensor of the CPU",
    "signals/bit_sum.py:_columns": "only for a tensor of the CPU",
    # that wait
    "arguments.py:integer": "a step or an epoch that the user gives from a device: a row is stored with it",
    "arguments.py:_list": "losses of a validation that the user gives, once in each",
    "batch_arguments.py:_ids": "ids that the user gives from a device: a row is stored with its ids",
    "deferred.py:Deferred.result": "asked for once the numbers have arrived, or at the end",
    "deferred.py:_waited_for": "a device from which nothing can be copied in the background",
    "forwards.py:Forwards.counter": "at both ends of a validation, whose record has the difference",
    "late_list.py:LateList.__array__": "asked for once the numbers have arrived, or at the end",
    "recorder.py:_number": "of a scalar that TensorBoard reads as well",
    "validation.py:Validation._input_fields": "at the end of a validation, whose record has the numbers",
    "validation.py:_numbers": "at the end of a validation, whose record has the numbers",
}
"""Reads without a check in their function, each with its reason."""


def asks(source):
    return any(check in source for check in CHECKS)


def is_read(call):
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in READS
    return isinstance(call.func, ast.Name) and call.func.id in {"float", "bool"} and not isinstance(call.args[0], ast.Constant)


def reads(path):
    """Function and name of each call that reads numbers, and whether the function has asked for the device."""
    text = path.read_text()
    tree = ast.parse(text)

    def walk(node, name, checked):
        for child in ast.iter_child_nodes(node):
            its, knows = name, checked
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                its = [*name, child.name]
                knows = isinstance(child, ast.FunctionDef) and asks(ast.get_source_segment(text, child))
            if isinstance(child, ast.Call) and is_read(child):
                yield ".".join(its), ast.unparse(child.func).rpartition(".")[2], knows
            yield from walk(child, its, knows)

    return list(walk(tree, [], False))


def test_every_read_of_a_number_lies_behind_a_check_of_the_device_or_has_its_reason():
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        if "disk" not in path.parts and "probe" not in path.parts:  # the one knows no tensors, the other waits, which it says
            for function, call, checked in reads(path):
                if not checked:
                    found.setdefault(f"{path.relative_to(ROOT).as_posix()}:{function}", set()).add(call)
    assert found.keys() == ALLOWED.keys(), found.keys() ^ ALLOWED.keys()
