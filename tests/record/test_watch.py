"""What is watched, what takes its place, and hooks that do no harm to what they hang on."""

import copy
import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tests.record.training import events, loader, mlp, two_classes


def train(one, model, optimizer, criterion, *, epochs=1, call=None):
    batches = one.writer.wrap(loader(two_classes(), shuffle=True))
    for _ in range(epochs):
        for inputs, targets in batches:
            optimizer.zero_grad()
            criterion((call or model)(inputs), targets).backward()
            optimizer.step()


def test_an_optimizer_that_nobody_named_is_found(recorded):
    one = recorded()
    model = mlp()
    with pytest.warns(RuntimeWarning, match="no loss was seen"):
        train(one, model, torch.optim.Adam(model.parameters(), lr=0.02), nn.CrossEntropyLoss())
    run = one.run()
    assert run.float("lr").tolist() == [0.02] * 6
    assert (run.float("grad_norm_at_step") > 0).all()
    assert run.facts["optimizer"]["class"] == "Adam"
    assert run.facts["optimizer"]["defaults"]["betas"] == [0.9, 0.999]


def test_an_optimizer_outside_the_loop_is_not_ours(recorded):
    one = recorded()
    other, model = mlp(), mlp()
    stranger = torch.optim.SGD(other.parameters(), lr=7.0)
    other(torch.ones(2, 8)).sum().backward()
    stranger.step()
    criterion = nn.CrossEntropyLoss()
    one.writer.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), criterion=criterion)
    stranger.step()
    train(one, model, torch.optim.SGD(model.parameters(), lr=0.1), criterion)
    stranger.step()
    one.writer.log_batch(1.0)
    assert one.run().float("lr").tolist() == [0.1] * 7


@pytest.mark.parametrize("named", [True, False])
def test_a_swapped_optimizer_is_an_event(named, recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    first, second = torch.optim.Adam(model.parameters(), lr=0.01), torch.optim.SGD(model.parameters(), lr=0.5)
    one.writer.watch(model, first if named else None, criterion=criterion)
    train(one, model, first, criterion)
    train(one, model, second, criterion)
    run = one.run()
    assert run.float("lr").tolist() == [0.01] * 6 + [0.5] * 6
    changes = [event for event in events(run, "config_change") if not event.fields.get("automatic")]
    assert [(event.batch, event.fields["optimizer"]["class"]) for event in changes] == [(6, "SGD")]
    assert "optimizer" in changes[0].text


def test_two_optimizers_of_different_parameters_stand_side_by_side(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    body, head = torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.SGD(model[2].parameters(), lr=0.2)
    one.writer.watch(model, [body, head], criterion=criterion)
    for inputs, targets in one.writer.wrap(loader(two_classes())):
        model.zero_grad()
        criterion(model(inputs), targets).backward()
        body.step()
        head.step()
    run = one.run()
    assert len(run) == 6
    assert run.float("lr").tolist() == [0.1] * 6
    assert run.float("lr.1").tolist() == [0.2] * 6
    assert events(run, "config_change") == []


def test_the_same_twice_is_one_and_calls_add_up(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model)
    one.writer.watch(optimizer=optimizer)
    one.writer.watch([model], optimizer, criterion=criterion)
    one.writer.watch(criterion=[criterion, criterion], config={"epochs": 3})
    train(one, model, optimizer, criterion)
    run = one.run()
    assert len(run) == 6
    assert events(run, "config_change") == []
    assert len(model._forward_hooks) == 0
    assert len(criterion._forward_hooks) == 0
    assert run.facts["config"] == {"epochs": 3}
    assert run.facts["criterion"]["class"] == "CrossEntropyLoss"
    assert run.facts["criterion"]["reduction"] == "mean"
    assert run.facts["model"]["class"] == "Sequential"
    assert run.facts["model"]["parameters"] == sum(p.numel() for p in model.parameters())


def test_a_replaced_model_and_criterion_are_events(recorded):
    one = recorded()
    old, new = mlp(), mlp()
    one.writer.watch(old, criterion=nn.CrossEntropyLoss())
    one.writer.log_batch(1.0)
    one.writer.watch(new, criterion=nn.CrossEntropyLoss(label_smoothing=0.1))
    run = one.run()
    assert [(event.batch, event.text.split()[0]) for event in events(run, "config_change")] == [(1, "model"), (1, "criterion")]
    assert run.facts["criterion"]["label_smoothing"] == 0.1


def test_changed_settings_are_an_event(recorded):
    one = recorded()
    one.writer.watch(config={"epochs": 3, "aug": "flip"})
    one.writer.log_batch(1.0)
    one.writer.watch(config={"epochs": 3, "aug": "none"})
    one.writer.add_hparams({"lr": 0.1}, {"hparam/loss": 1.0}, run_name="h")
    run = one.run()
    assert run.facts["config"] == {"epochs": 3, "aug": "none", "lr": 0.1}
    assert [dict(event.fields) for event in events(run, "config_change")] == [{"aug": "none"}]


def test_loaded_states_are_restore_events(recorded):
    one = recorded()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer)
    one.writer.log_batch(1.0)
    model.load_state_dict(copy.deepcopy(model.state_dict()))
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run = one.run()
    assert [(event.batch, event.fields["what"]) for event in events(run, "restore")] == [(1, "model"), (1, "optimizer")]


def test_a_watched_model_can_be_copied_saved_and_sent(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    average = torch.optim.swa_utils.AveragedModel(model)
    twin = copy.deepcopy(model)
    copy.deepcopy(optimizer)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    inputs = torch.ones(2, 8)
    for other in (average, twin, loaded):
        other(inputs).sum().backward()
    train(one, model, optimizer, criterion)
    run = one.run()
    assert len(run) == 6
    assert (run.float("train_mode") == 1).all()


def test_a_graph_that_is_drawn_is_no_step(recorded):
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        one.writer.add_graph(model, torch.ones(2, 8))
    train(one, model, optimizer, criterion)
    run = one.run()
    assert len(run) == 6
    assert events(run, "validation_begin") == []


def test_a_criterion_that_is_a_function_is_said_to_be_unseen(recorded):
    one = recorded()
    with pytest.warns(RuntimeWarning, match=r"cross_entropy.*log_batch"):
        one.writer.watch(criterion=nn.functional.cross_entropy)
    one.writer.log_batch(1.0)
    assert one.run().facts["criterion"] == {"class": "cross_entropy"}


def test_what_is_refused(recorded):
    writer = recorded().writer
    with pytest.raises(TypeError, match=r"watch\(model\) expects a torch.nn.Module.*got Linear.*|got str"):
        writer.watch("model")
    with pytest.raises(TypeError, match=r"watch\(optimizer\) expects a torch.optim.Optimizer.*got Sequential"):
        writer.watch(optimizer=mlp())
    with pytest.raises(TypeError, match=r"watch\(criterion=...\) expects a loss module.*got int"):
        writer.watch(criterion=3)
    with pytest.raises(TypeError, match=r"watch\(scheduler=...\) expects a scheduler.*got float"):
        writer.watch(scheduler=0.1)
    with pytest.raises(TypeError, match=r"watch\(config=...\) expects a dict.*got list"):
        writer.watch(config=[1])


def test_a_collector_that_fails_is_one_warning_and_the_rest_goes_on(recorded, monkeypatch):
    import tb_losslens.record.signals.inputs as inputs

    def broken(tensor):
        raise ValueError("no moments today")

    monkeypatch.setattr(inputs, "input_moments", broken)
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    with pytest.warns(RuntimeWarning, match="statistics of the inputs is not recorded.*no moments today") as caught:
        train(one, model, optimizer, criterion)
    assert len([w for w in caught if "no moments" in str(w.message)]) == 1
    one.writer._guard.disabled.clear()
    run = one.run()
    assert len(run) == 6
    assert np.isfinite(run.loss).all()
    assert not run.has("input_mean")
    assert (run.float("train_mode") == 1).all()
    assert (run.float("grad_norm") > 0).all()


def test_a_collector_that_fails_where_warnings_are_errors(recorded, monkeypatch, caplog):
    import tb_losslens.record.forwards as forwards

    monkeypatch.setattr(forwards, "training_share", lambda modules: 1 / 0)
    one = recorded()
    model, criterion = mlp(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=criterion)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(one, model, optimizer, criterion)
    assert "forward of the model is not recorded" in caplog.text
    one.writer._guard.disabled.clear()
    run = one.run()
    assert len(run) == 6
    assert np.isfinite(run.loss).all()


def test_close_takes_every_hook_off(recorded):
    from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

    before_pre, before_post = len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)
    one = recorded()
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    one.writer.watch(model, optimizer, criterion=model[1])
    one.writer.close()
    for module in model.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._load_state_dict_post_hooks):
            assert len(hooks) == 0
    assert len(optimizer._optimizer_load_state_dict_post_hooks) == 0
    assert (len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)) == (before_pre, before_post)
