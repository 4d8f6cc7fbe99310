"""What the probe is given, takes by itself, and says where it cannot know."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from tests.record.training import events, mlp, two_classes


def loop(one, model, loss, *, data=None, epochs=3, validate=True, forward=None, share=100.0):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if share is not None and one.writer._watch.probe is not None:
        one.writer._watch.probe.budget.share, one.writer._watch.probe.budget.grant = share, 0.0
    one.writer.watch(model, optimizer, criterion=loss if isinstance(loss, nn.Module) else None)
    data = data or two_classes()
    loader, held_out = one.writer.wrap(DataLoader(data, 20)), one.writer.wrap(DataLoader(data, 40), split="val")
    forward = forward or (lambda inputs, targets: loss(model(inputs), targets))
    for _ in range(epochs):
        for inputs, targets in loader:
            optimizer.zero_grad()
            forward(inputs, targets).backward()
            optimizer.step()
        if validate:
            with torch.no_grad():
                for inputs, targets in held_out:
                    forward(inputs, targets)


def test_its_loss_is_that_of_the_first_batches_as_they_were(recorded):
    one = recorded()
    one.writer.set_probe()
    model, criterion, data = mlp(), nn.CrossEntropyLoss(), two_classes()
    loop(one, model, criterion, data=data)
    last = [e.fields for e in events(one.run(), "probe")][-1]
    inputs, targets = data.tensors
    assert last["train_eval"] == pytest.approx(criterion(model(inputs[:20]), targets[:20]).item(), rel=1e-6)
    assert last["heldout_eval"] == pytest.approx(criterion(model(inputs[:40]), targets[:40]).item(), rel=1e-6)
    assert last["train_batchstat"] == last["train_eval"]
    assert len(one.run().loss) == 18


def test_a_loss_that_is_a_function(recorded):
    one = recorded()
    model, data = mlp(), two_classes()
    one.writer.set_probe(loss_fn=functional.cross_entropy)
    loop(one, model, functional.cross_entropy, data=data)
    last = [e.fields for e in events(one.run(), "probe")][-1]
    inputs, targets = data.tensors
    assert last["train_eval"] == pytest.approx(functional.cross_entropy(model(inputs[:20]), targets[:20]).item(), rel=1e-6)
    assert last["heldout_eval"] == pytest.approx(functional.cross_entropy(model(inputs[:40]), targets[:40]).item(), rel=1e-6)


def test_a_loss_that_calls_the_watched_criterion_is_no_batch(recorded):
    one = recorded()
    criterion = nn.CrossEntropyLoss()
    one.writer.set_probe(loss_fn=lambda output, target: 2 * criterion(output, target))
    model, data = mlp(), two_classes()
    loop(one, model, criterion, data=data)
    run = one.run()
    assert len(run.loss) == 18
    assert [len(v.fields["batch_losses"]) for v in run.validations] == [3, 3, 3]
    truth = 2 * criterion(model(data.tensors[0][:20]), data.tensors[1][:20]).item()
    assert events(run, "probe")[-1].fields["train_eval"] == pytest.approx(truth, rel=1e-6)


def notes(run):
    return [event.text for event in events(run, "note")]


def test_what_it_cannot_know_is_said_once_and_the_training_goes_on(recorded):
    one = recorded()
    one.writer.set_probe()
    criterion, model = nn.NLLLoss(), mlp()
    with pytest.warns(RuntimeWarning, match="loss_fn") as warned:
        loop(one, model, criterion, forward=lambda x, y: criterion(model(x).log_softmax(1), y))
    run = one.run()
    assert len(warned) == 1
    assert len(notes(run)) == 1
    assert not events(run, "probe")
    assert len(run.loss) == 18


def test_a_failure_in_it_is_one_warning_and_the_training_has_the_same_weights(recorded):
    class Fussy(nn.Sequential):
        def forward(self, x):
            if not torch.is_grad_enabled() and len(x) == 7:
                raise ValueError("not seven")
            return super().forward(x)

    results = []
    for probing in (False, True):
        torch.manual_seed(0)
        one, model = recorded(), Fussy(nn.Linear(8, 4), nn.Dropout(0.2), nn.Linear(4, 2))
        if probing:
            one.writer.set_probe((torch.zeros(7, 8), torch.zeros(7).long()))
            with pytest.warns(RuntimeWarning, match="not seven") as warned:
                loop(one, model, nn.CrossEntropyLoss())
            assert len(warned) == 1
            one.writer._guard.disabled.clear()
            assert "not seven" in notes(one.run())[0]
        else:
            loop(one, model, nn.CrossEntropyLoss())
        results.append([p.tolist() for p in model.parameters()] + [torch.get_rng_state().tolist()])
    assert results[0] == results[1]


def test_a_lazy_model_is_probed_once_it_is_whole(recorded):
    one = recorded()
    data = two_classes()
    one.writer.set_probe((data.tensors[0][:9], data.tensors[1][:9]), loss_fn=functional.cross_entropy)
    loop(one, nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Linear(4, 2)), nn.CrossEntropyLoss())
    run = one.run()
    assert ["lazy" in text for text in notes(run)] == [True]
    assert events(run, "probe")[0].fields["when"] == "u1"


def test_the_time_is_held_and_a_note_says_so(recorded):
    one = recorded()
    one.writer.set_probe()
    loop(one, mlp(), nn.CrossEntropyLoss(), epochs=6, share=1e-6)
    run = one.run()
    t0 = [e.fields["epoch"] for e in events(run, "probe") if e.fields["when"] == "t0"]
    assert t0 == [0, 1]
    assert ["only some boundaries" in text for text in notes(run)] == [True]


def test_users_hooks_are_called_and_see_no_training_of_ours(recorded):
    one, calls = recorded(), []
    one.writer.set_probe()
    model = mlp()
    model.register_forward_hook(lambda module, args, output: calls.append(module.training) or output * 2)
    loop(one, model, nn.CrossEntropyLoss(), epochs=1, validate=False)
    run = one.run()
    assert len(events(run, "probe")) == 4
    assert calls.count(True) == 6
    assert calls.count(False) == 4


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"train_batch": torch.zeros(3, 2)}, TypeError, "a pair"),
        ({"train_batch": (torch.zeros(3, 2),)}, TypeError, "1 items"),
        ({"train_batch": ("a", torch.zeros(3))}, TypeError, "without a tensor"),
        ({"heldout_batch": (torch.zeros(0, 2), torch.zeros(0))}, ValueError, "without elements"),
        ({"train_batch": (torch.zeros(6, 2), object())}, TypeError, "cannot be copied"),
        ({"loss_fn": nn.MSELoss}, TypeError, "MSELoss\\(\\)"),
        ({"loss_fn": 3}, TypeError, "int"),
    ],
)
def test_wrong_arguments(recorded, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        recorded().writer.set_probe(**arguments)


def test_a_second_probe_takes_the_place_of_the_first(recorded):
    one, data = recorded(), two_classes()
    inputs, targets = data.tensors
    one.writer.set_probe((inputs[:9], targets[:9]))
    one.writer.set_probe((inputs[9:19], targets[9:19]))
    model, criterion = mlp(), nn.CrossEntropyLoss()
    loop(one, model, criterion, epochs=1, validate=False)
    run = one.run()
    assert [event.fields["when"] for event in events(run, "probe")] == ["u1", "u2", "u5", "t0"]
    truth = criterion(model(inputs[9:19]), targets[9:19]).item()
    assert events(run, "probe")[-1].fields["train_eval"] == pytest.approx(truth, rel=1e-6)
    assert ["replaced" in text for text in notes(run)] == [True]


def test_after_close_it_does_nothing(recorded):
    one = recorded()
    one.writer.close()
    one.writer.set_probe()
