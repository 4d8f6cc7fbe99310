"""A training that a second process goes on with: from scratch, from an old state, without the optimiser's, and rightly."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tb_losslens import LossLensWriter, load_runs
from tb_losslens.analysis.causes import resume_discontinuity
from tb_losslens.analysis.engine import diagnose
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.toys import dataset

EPOCHS = 5


def train(directory: Path, first: int, epochs: int, state: dict[str, Any] | None = None, *, seed: int = 0) -> dict[int, Any]:
    """One process that begins at epoch `first`; the state after each of its epochs, and before the first one."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    x, y, _, _ = dataset("gaussian")
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10))
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    if state is not None:
        net.load_state_dict(state["model"])
        if "optimizer" in state:
            opt.load_state_dict(state["optimizer"])
    criterion = nn.CrossEntropyLoss()
    step = first * 50
    out = {first: copy.deepcopy({"model": net.state_dict()})}
    with LossLensWriter(str(directory), purge_step=step) as writer:
        writer.watch(net, opt, criterion=criterion)
        loader = writer.wrap(DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True))
        for epoch in range(first, first + epochs):
            for inputs, targets in loader:
                opt.zero_grad()
                loss = criterion(net(inputs), targets)
                loss.backward()
                opt.step()
                writer.add_scalar("Loss/train", loss.item(), step)
                step += 1
            out[epoch + 1] = copy.deepcopy({"model": net.state_dict(), "optimizer": opt.state_dict()})
    return out


@cache
def first_process() -> tuple[dict[str, bytes], dict[int, Any]]:
    """What it wrote, by the names of the files, and its states."""
    with TemporaryDirectory() as directory:
        states = train(Path(directory), 0, EPOCHS)
        return {path.name: path.read_bytes() for path in Path(directory).iterdir()}, states


def resumed(directory: Path, choose: Any, *, seed: int = 1) -> Run:
    """A run of two processes; `choose` takes the states of the first one and gives what the second one loads."""
    files, states = first_process()
    directory.mkdir(exist_ok=True)
    for name, data in files.items():
        (directory / name).write_bytes(data)
    train(directory, EPOCHS, EPOCHS, choose(copy.deepcopy(states)), seed=seed)
    return load_runs(directory)["."]


def test_a_process_that_begins_from_scratch_is_why_the_loss_jumps(tmp_path: Path) -> None:
    """Under the same seed its weights are those that the run began with."""
    run = resumed(tmp_path, lambda _: None, seed=0)
    (finding,) = findings(resume_discontinuity, run)
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "stale_weights")
    assert (finding.boundaries, finding.steps) == ((EPOCHS - 1,), (EPOCHS * 50,))
    assert finding.explains_jump
    assert "untrained weights and an optimiser without state" in finding.text
    assert diagnose(run).boundaries[EPOCHS - 1].cause == "resume_discontinuity"


def test_other_untrained_weights_are_not_those_that_the_run_ended_with(tmp_path: Path) -> None:
    """They equal no recorded state, and both they and the optimiser are why the loss jumps."""
    (finding,) = findings(resume_discontinuity, resumed(tmp_path, lambda _: None))
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "stale_weights")
    assert finding.explains_jump
    assert "other weights than the run ended with and an optimiser without state" in finding.text
    assert "equal no recorded state" in finding.evidence[0]


def test_an_old_state_from_inside_an_epoch_is_proved_too(tmp_path: Path) -> None:
    """The checkpoint was written where no checksum was, with the optimiser of that moment."""

    def between(states: dict[int, Any]) -> dict[str, Any]:
        first, second = states[1], states[2]
        model = {name: (value + second["model"][name]) / 4 for name, value in first["model"].items()}
        return {"model": model, "optimizer": first["optimizer"]}

    (finding,) = findings(resume_discontinuity, resumed(tmp_path, between))
    assert (finding.kind, finding.strength, finding.detail) == ("fault", "proved", "stale_weights")
    assert "without state" not in finding.text
    assert f"those that the run ended with, after step {EPOCHS * 50 - 1:,}" in finding.evidence[0]


def test_other_weights_that_the_loss_does_not_show_are_said_and_not_judged(tmp_path: Path) -> None:
    def averaged(states: dict[int, Any]) -> dict[str, Any]:
        last = states[EPOCHS]
        return {**last, "model": {name: value * (1 + 1e-6) for name, value in last["model"].items()}}

    (finding,) = findings(resume_discontinuity, resumed(tmp_path, averaged))
    assert (finding.kind, finding.strength, finding.explains_jump) == ("unknown", "proved", False)


def test_weights_of_a_process_that_went_further_than_its_recording_prove_nothing(tmp_path: Path) -> None:
    further = train(tmp_path / "further", 0, EPOCHS + 1)[EPOCHS + 1]
    said = checked(resume_discontinuity, resumed(tmp_path / "run", lambda _: further))
    assert "equal no recorded state, the last of which is 0 batches older" in said


def test_a_resume_after_a_validation_with_averaged_weights_is_fine(tmp_path: Path) -> None:
    """The newest checksum is that of the averaged weights; those of the training were recorded at the same batch."""
    run = resumed(tmp_path, lambda states: states[EPOCHS])
    at = next(i for i, e in enumerate(run.events) if e.kind == "epoch_end" and e.batch == EPOCHS * 50)
    end = run.events[at]
    averaged = replace(end, kind="validation_end", fields={"parameters": "0123456789abc"})
    run = replace(run, events=(*run.events[: at + 1], averaged, *run.events[at + 1 :]))
    assert "its weights equal those recorded last" in checked(resume_discontinuity, run)


def test_weights_that_the_last_validation_ran_with_are_planned_where_the_loss_moves(tmp_path: Path) -> None:
    """Without the record of that validation they are other weights, and a fault."""

    def saved(states: dict[int, Any]) -> dict[str, Any]:
        last = states[EPOCHS]
        return {**last, "model": {name: value / 8 for name, value in last["model"].items()}}

    run = resumed(tmp_path, saved)
    (finding,) = findings(resume_discontinuity, run)
    assert finding.kind == "fault"
    at = next(i for i, e in enumerate(run.events) if e.kind == "epoch_end" and e.batch == EPOCHS * 50)
    begin = next(e for e in run.events[at:] if e.kind == "epoch_begin" and e.batch == EPOCHS * 50)
    validated = replace(run.events[at], kind="validation_end", fields={"parameters": begin.fields["parameters"]})
    run = replace(run, events=(*run.events[: at + 1], validated, *run.events[at + 1 :]))
    (finding,) = findings(resume_discontinuity, run)
    assert (finding.kind, finding.strength, finding.explains_jump) == ("planned", "proved", True)
    assert "the weights that the last validation ran with" in finding.text


def test_a_process_that_went_back_by_itself_before_it_ended_is_no_fault(tmp_path: Path) -> None:
    """As where the best weights are loaded at the end of a training."""
    run = resumed(tmp_path, lambda states: states[2])
    at = next(i for i, e in enumerate(run.events) if e.kind == "epoch_end" and e.batch == EPOCHS * 50)
    restore = replace(run.events[at], kind="restore", fields={"what": "model"})
    run = replace(run, events=(*run.events[: at + 1], restore, *run.events[at + 1 :]))
    (finding,) = findings(resume_discontinuity, run)
    assert (finding.kind, finding.detail) == ("planned", "stale_weights")


def test_an_old_checkpoint_is_named_by_its_step(tmp_path: Path) -> None:
    (finding,) = findings(resume_discontinuity, resumed(tmp_path, lambda states: states[2]))
    assert finding.detail == "stale_weights"
    assert "the weights after step 99" in finding.text
    assert "without state" not in finding.text


def test_an_optimiser_that_is_not_loaded_is_a_fault_of_its_own(tmp_path: Path) -> None:
    run = resumed(tmp_path, lambda states: {"model": states[EPOCHS]["model"]})
    (finding,) = findings(resume_discontinuity, run)
    assert finding.detail == "optimizer_state"
    assert "weights" not in finding.text


def test_a_process_that_has_all_of_it_is_fine(tmp_path: Path) -> None:
    run = resumed(tmp_path, lambda states: states[EPOCHS])
    said = checked(resume_discontinuity, run)
    assert f"a new process began at step {EPOCHS * 50}: its weights equal those recorded last" in said
    assert "has state for 4 parameters, and had it for 4 before" in said


def test_one_process_is_fine(tmp_path: Path) -> None:
    train(tmp_path, 0, 2)
    assert "one process" in checked(resume_discontinuity, load_runs(tmp_path)["."])
