"""Trainings run side by side, start from a clean directory, and report what stopped them."""

from __future__ import annotations

from pathlib import Path

from demo.training import train_all


def write_two(directory: str, run: str) -> None:
    Path(directory).mkdir(parents=True, exist_ok=True)
    (Path(directory) / "events.out.tfevents.new").write_text(run)


def stumble(directory: str, run: str) -> None:
    if run == "bad":
        raise ValueError("no such data")
    write_two(directory, run)


def test_only_what_an_earlier_training_wrote_is_removed(tmp_path: Path):
    directory = tmp_path / "one"
    directory.mkdir()
    for name in ("events.out.tfevents.old", "losslens.1234.tail", "notes.txt"):
        (directory / name).write_text("before")
    assert [done.error for done in train_all(write_two, ["one"], tmp_path)] == [""]
    assert sorted(path.name for path in directory.iterdir()) == ["events.out.tfevents.new", "notes.txt"]


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path):
    done = {trained.run: trained.error for trained in train_all(stumble, ["a", "bad", "b"], tmp_path)}
    assert set(done) == {"a", "bad", "b"}
    assert done["a"] == done["b"] == ""
    assert "ValueError: no such data" in done["bad"]
