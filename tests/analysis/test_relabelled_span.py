"""Batches inside an epoch whose samples come with other labels: where they are, and what is no span of batches."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from tb_losslens.analysis.causes import bad_batch, target_shift
from tb_losslens.analysis.engine import diagnose
from tb_losslens.analysis.relabelled_span import relabelled_spans
from tb_losslens.store.run import Run
from tests.analysis.contexts import checked, findings
from tests.analysis.recorded_targets import record

EPOCH, BATCHES, SIZE = 4, 44, 32


def trained(directory: Path, first: int, last: int, *, epochs: int = 8, every: int = 1) -> Run:
    """The labels of batches `first` to `last` of one epoch are those of the next class, of one sample in `every` only."""
    delivered: Counter[int] = Counter()

    def change(_sample: int, target: Tensor, epoch: int) -> Tensor:
        place = delivered[epoch]
        delivered[epoch] += 1
        inside = epoch == EPOCH and first * SIZE <= place < (last + 1) * SIZE and place % every == 0
        return (target + 1) % 10 if inside else target

    return record(directory, change=change, epochs=epochs)


@pytest.mark.parametrize(("first", "last"), [(20, 25), (0, 3), (41, 43)])
def test_a_span_is_found_where_it_is(tmp_path: Path, first: int, last: int) -> None:
    run = trained(tmp_path, first, last)
    start = EPOCH * BATCHES
    ((low, high, _),) = relabelled_spans(run).values()
    assert (low, high) == (start + first, start + last)
    (finding,) = findings(bad_batch, run)
    assert (finding.detail, finding.strength, finding.steps[0]) == ("targets", "proved", start + first)
    assert not [f for f in diagnose(run).findings if f.cause in ("target_shift", "unknown")]
    if (first, last) == (20, 25):
        assert "bad_batch" in checked(target_shift, run)


def test_labels_that_change_here_and_there_are_no_span(tmp_path: Path) -> None:
    run = trained(tmp_path, 0, BATCHES, every=7)
    assert not relabelled_spans(run)
    assert [f.detail for f in findings(target_shift, run)] == ["one_epoch"]


def test_most_of_an_epoch_is_a_matter_of_the_epoch(tmp_path: Path) -> None:
    run = trained(tmp_path, 5, 40)
    assert not relabelled_spans(run)
    assert [f.detail for f in findings(target_shift, run)] == ["one_epoch"]


def test_nothing_came_back_different(tmp_path: Path) -> None:
    assert not relabelled_spans(trained(tmp_path, 1, 0))


def test_where_not_all_samples_were_compared_no_end_of_a_span_is_told(tmp_path: Path) -> None:
    run = trained(tmp_path, 20, 25)
    assert relabelled_spans(run)
    again = replace(run)
    again.epochs[EPOCH].fields["fingerprinted_batches"] = BATCHES
    assert not relabelled_spans(again)
