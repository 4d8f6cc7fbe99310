"""Steps that go back, repeat or restart, against steps that rise; recorded by a real writer where sessions matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tb_losslens import LossLensWriter, diagnose, load_runs
from tb_losslens.analysis.causes import log_overlap
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.trainings import train


def with_steps(steps: np.ndarray, length: int = 50) -> Run:
    return Run.from_arrays(loss=np.random.default_rng(0).random(len(steps)), step=steps, epoch_length=length)


def recorded(directory: Path, step: Callable[[int], int], batches: int = 600, length: int = 50) -> Run:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with LossLensWriter(str(directory)) as writer:
        for row in range(batches):
            if row % length == 0:
                writer.start_epoch(row // length)
            x = torch.randn(16, 4)
            loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            writer.log_batch(loss, step=step(row))
    return load_runs(directory)["."]


def test_rising_steps_are_fine_even_with_gaps() -> None:
    assert "from 0 to 1,996" in checked(log_overlap, with_steps(np.arange(500) * 4))


def test_a_step_that_is_set_back_is_no_second_log(tmp_path: Path) -> None:
    run = recorded(tmp_path, lambda row: row if row <= 500 else row - 498)
    (found,) = findings(log_overlap, run)
    assert (found.kind, found.strength, found.detail, found.steps) == ("artifact", "proved", "counter", (3,))
    assert "from 500 to 3 at batch 501" in found.text
    assert "in the order in which they were logged" in found.text
    assert "rises" in found.advice
    assert not found.explains_jump
    assert not any("director" in text for text in (found.text, found.advice, found.fix, found.confirm))
    assert found.evidence[0].span == (500, 502)
    assert [b.batch for b in diagnose(run).boundaries] == list(range(50, 600, 50))  # rows, whatever the steps say


def test_a_counter_that_restarts_with_each_epoch_is_told_apart(tmp_path: Path) -> None:
    (found,) = findings(log_overlap, recorded(tmp_path, lambda row: row % 50))
    assert found.detail == "restarting_counter"
    assert found.boundaries == tuple(range(11))
    assert "from 49 to 0 at batch 50" in found.text
    assert "len(train_loader)" not in found.fix  # an IterableDataset has none
    assert "writer.log_batch(loss, step=global_step)" in found.fix


def test_the_code_counts_over_epochs_of_any_loader(tmp_path: Path) -> None:
    (found,) = findings(log_overlap, recorded(tmp_path, lambda row: row % 50, batches=100))
    steps: list[int] = []
    writer = type("Writer", (), {"log_batch": lambda _self, _loss, step: steps.append(step)})()
    stream = type("Stream", (), {"__iter__": lambda _self: iter([(0, 0)] * 3)})()
    exec(found.fix, {"writer": writer, "train_loader": stream, "loss": 0.0, "epochs": 2})
    assert steps == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("each", [2, 4])
def test_steps_of_accumulation_are_no_artifact(tmp_path: Path, each: int) -> None:
    (found,) = findings(log_overlap, recorded(tmp_path, lambda row: row // each, batches=200))
    assert (found.kind, found.detail) == ("benign", "shared")
    assert f"{200 - 200 // each} times" in found.text


def test_a_restart_that_writes_again_is_two_logs(tmp_path: Path) -> None:
    recorded(tmp_path, lambda row: row, batches=300)
    (found,) = findings(log_overlap, recorded(tmp_path, lambda row: row + 250, batches=200))
    assert (found.kind, found.strength, found.detail, found.steps) == ("artifact", "proved", "sessions", (250,))
    assert "50 rows" in found.evidence[0]
    assert not found.explains_jump


def test_a_restart_whose_step_goes_back_is_both(tmp_path: Path) -> None:
    recorded(tmp_path, lambda row: row, batches=300)
    found = findings(log_overlap, recorded(tmp_path, lambda row: row + 250 if row < 100 else row, batches=200))
    assert [item.detail for item in found] == ["sessions", "counter"]


def test_rows_that_a_newer_session_overtook_are_counted() -> None:
    sessions = ({"id": "a", "batches": 300}, {"id": "b", "batches": 200})
    resumed = replace(train(epochs=3), superseded=120, sessions=sessions)
    purged = replace(resumed, sessions=({}, {"first_step": 240}), facts={**resumed.facts, "purge_step": 240})
    assert "120 rows from step 240 on were purged" in checked(log_overlap, purged)
    (found,) = findings(log_overlap, resumed)
    assert "120 rows" in found.evidence[0]
    assert "2 sessions" in found.text


def test_two_trainings_in_one_directory_get_a_directory_each(tmp_path: Path) -> None:
    recorded(tmp_path, lambda row: row, batches=200)
    (found,) = findings(log_overlap, recorded(tmp_path, lambda row: row, batches=200))
    assert "purge" not in found.advice + found.fix
    names = {"LossLensWriter": LossLensWriter, "log_dir": str(tmp_path / "mended")}
    exec(found.fix, names)
    writer = names["writer"]
    assert isinstance(writer, LossLensWriter)
    writer.close()
    assert len(list((tmp_path / "mended").iterdir())) == 1


def test_a_resumed_training_is_told_to_purge(tmp_path: Path) -> None:
    recorded(tmp_path, lambda row: row, batches=300)
    (found,) = findings(log_overlap, recorded(tmp_path, lambda row: row + 250, batches=200))
    assert "purge_step" in found.fix
