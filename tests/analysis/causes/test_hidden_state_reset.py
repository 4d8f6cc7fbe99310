"""A recurrent net that must remember a key which is shown now and then, and loses it where its state begins anew: recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import hidden_state_reset
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings, skipped

KEYS, STREAMS, WINDOW, BATCHES, EPOCHS, HIDDEN = 4, 32, 8, 40, 12, 48


def text(length: int, *, seed: int = 0, every: float = 60.0) -> tuple[Tensor, Tensor, Tensor]:
    """Symbols, the key where it is shown (about once in `every`; else KEYS), and their sum; each of shape (length, streams)."""
    generator = torch.Generator().manual_seed(seed)
    symbols = torch.randint(0, KEYS, (length, STREAMS), generator=generator)
    shown = torch.rand(length, STREAMS, generator=generator) < 1 / every
    drawn = torch.randint(0, KEYS, (length, STREAMS), generator=generator)
    key, keys = drawn[0], torch.empty_like(symbols)
    for t in range(length):
        key = torch.where(shown[t], drawn[t], key)
        keys[t] = key
    return symbols, torch.where(shown, drawn, KEYS), (symbols + keys) % KEYS


@cache
def trained(reset: str = "", *, goes_on: bool = False, validate: int = 0, hidden_given: str = "norm") -> Run:
    """12 epochs of 40 windows of a text.

    Args:
        reset: "epoch": the state is set back where an epoch begins; "validation": by each validation; "inside": in the batches
            15 and 30; "always": in each batch; "": never.
        goes_on: the epochs are pieces of one text, and not the same one again and again.
        validate: batches between two validations inside epochs.
        hidden_given: "none": the state is handed over as None where it is set back.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    symbols, shown, sums = text(WINDOW * BATCHES * (EPOCHS if goes_on else 1))
    first, second, net, head = nn.Embedding(KEYS, 16), nn.Embedding(KEYS + 1, 16), nn.GRU(32, HIDDEN), nn.Linear(HIDDEN, KEYS)
    parameters = [p for m in (first, second, net, head) for p in m.parameters()]
    optimizer, criterion = torch.optim.Adam(parameters, lr=0.01), nn.CrossEntropyLoss()
    nothing = torch.zeros(1, STREAMS, HIDDEN)
    with TemporaryDirectory() as directory:
        with LossLensWriter(directory) as writer:
            writer.watch(net, optimizer, criterion=criterion)
            state, step = nothing, 0
            for epoch in range(EPOCHS):
                writer.start_epoch(epoch)
                for i in range(BATCHES):
                    window = i + (epoch * BATCHES if goes_on else 0)
                    piece = slice(window * WINDOW, (window + 1) * WINDOW)
                    anew = reset == "always" or (reset == "epoch" and i == 0) or (reset == "inside" and i in (15, 30))
                    if validate and i and i % validate == 0:
                        with writer.validation(), torch.no_grad():
                            net(torch.zeros(WINDOW, STREAMS, 32))
                        writer.log_validation(1.0)
                        anew = anew or reset == "validation"
                    state = nothing if anew else state
                    output, new = net(torch.cat([first(symbols[piece]), second(shown[piece])], dim=2), state)
                    loss = criterion(head(output).flatten(0, 1), sums[piece].flatten())
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    given = None if anew and hidden_given == "none" else state
                    writer.log_batch(loss, hidden=given, sample_ids=[window])
                    state, step = new.detach(), step + 1
        return load_runs(directory)["."]


def test_at_the_begin_of_each_epoch_it_is_benign_and_explains_the_jump() -> None:
    run = trained("epoch")
    assert (run.float("hidden_norm")[::BATCHES] == 0).all()
    (finding,) = findings(hidden_state_reset, run)
    assert (finding.kind, finding.strength, finding.detail) == ("benign", "proved", "epoch_begin")
    assert finding.boundaries == tuple(range(EPOCHS - 1))
    assert finding.steps[0] == BATCHES
    assert "is exactly 0 at 11 batches" in finding.evidence[0]
    assert finding.explains_jump
    said = diagnose(run)
    assert [f.cause for f in said.findings if f.kind == "fault"] == []
    assert said.boundaries[-1].cause == "hidden_state_reset"


def test_a_net_that_needs_half_of_its_training_to_remember() -> None:
    """Of what is not yet remembered nothing is lost: most boundaries have no rise, and the later ones have one."""
    run = trained("epoch")
    loss, slow = run.loss.copy(), 7 * BATCHES
    within = np.arange(slow) % BATCHES
    loss[:slow] = np.log(KEYS) + 0.01 * np.random.default_rng(0).normal(size=slow) + 0.0005 * within
    late = replace(run, columns={**run.columns, "loss": loss})
    (finding,) = findings(hidden_state_reset, late)
    assert finding.explains_jump
    said = diagnose(late)  # and no batches of their own at the begins of the later epochs
    assert [f.cause for f in said.findings] == ["hidden_state_reset"]
    assert said.boundaries[-1].cause == "hidden_state_reset"
    loss[slow:] = loss[:BATCHES].mean() + 0.01 * np.random.default_rng(1).normal(size=len(loss) - slow)
    (finding,) = findings(hidden_state_reset, replace(run, columns={**run.columns, "loss": loss}))
    assert not finding.explains_jump


def test_in_the_middle_of_a_text_it_is_a_fault() -> None:
    run = trained("epoch", goes_on=True)
    (finding,) = findings(hidden_state_reset, run)
    assert (finding.kind, finding.detail) == ("fault", "stream_goes_on")
    assert "follows the last one before it" in " ".join(finding.evidence)
    assert "set back at step 40" in finding.fix
    unknown = replace(run, events=tuple(replace(e, fields={**e.fields, "first_ids": None}) for e in run.events))
    assert [f.kind for f in findings(hidden_state_reset, unknown)] == ["benign"]


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_state_that_is_kept_is_fine(goes_on: bool) -> None:
    assert "carried on into 11 epochs" in checked(hidden_state_reset, trained(goes_on=goes_on))


def test_a_validation_that_uses_the_state_of_the_training_is_a_fault() -> None:
    (finding,) = findings(hidden_state_reset, trained("validation", goes_on=True, validate=13))
    assert (finding.kind, finding.detail) == ("fault", "validation")
    assert finding.steps[:3] == (13, 26, 39)
    assert finding.explains_jump
    assert "a validation ended right before 36 of these 36 batches" in " ".join(finding.evidence)


def test_validations_with_a_state_of_their_own_are_fine() -> None:
    assert "never set back" in checked(hidden_state_reset, trained(goes_on=True, validate=13))


def test_texts_that_begin_inside_epochs_are_benign() -> None:
    (finding,) = findings(hidden_state_reset, trained("inside", goes_on=True))
    assert (finding.kind, finding.detail, finding.boundaries) == ("benign", "inside", ())
    assert any("another text may begin" in line for line in finding.against)


def test_a_net_without_a_carried_state_has_none_to_lose() -> None:
    assert "no state is carried on" in checked(hidden_state_reset, trained("always"))


def test_a_state_that_is_handed_over_as_none_is_the_same() -> None:
    run = trained("epoch", hidden_given="none")
    assert np.isnan(run.float("hidden_norm")[::BATCHES]).all()
    (finding,) = findings(hidden_state_reset, run)
    assert finding.boundaries == tuple(range(EPOCHS - 1))
    assert "none is given" in finding.evidence[0]


def test_what_is_missing_is_said() -> None:
    run = trained("epoch")
    bare = replace(run, columns={k: v for k, v in run.columns.items() if k != "hidden_norm"})
    assert skipped(hidden_state_reset, bare).how == "writer.log_batch(loss, hidden=hidden)"
