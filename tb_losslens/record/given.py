"""Answers which of the tensors that a model is called with for a batch is its input."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor

from tb_losslens.record.batch import storages_of
from tb_losslens.record.collectors import Collectors
from tb_losslens.record.measures import first_floating
from tb_losslens.record.recorder import Recorder
from tb_losslens.record.row import Row

FACT = "inputs_of_loader"
"""Whether a model was ever given a tensor of the loader's batch itself, and not a copy or something else."""


def is_learned(tensor: Tensor) -> bool:
    """True for the output of something that is trained, as an encoder's features: it moves as that learns, and is no data.

    The leaf of a graph, of which somebody wants the gradient, is data.
    """
    return tensor.grad_fn is not None


def take_inputs(recorder: Recorder, collectors: Collectors, row: Row, args: Any, kwargs: Any) -> None:
    """Tells of the input of a row: that of the first call, or of the one that gets the batch, as a critic does of two."""
    tensor = None if row.of_batch else first_floating((args, kwargs) if kwargs else args)
    if tensor is None or is_learned(tensor):
        return
    of_batch = row.batch is not None and row.batch.is_made_of(storages_of(tensor))
    if row.given and not of_batch:
        return
    row.given, row.of_batch = True, of_batch
    if row.dense:
        collectors.tell("inputs_given", row, args, kwargs)
    else:
        row.inputs = weakref.ref(tensor)
    if row.batch is not None and not recorder.known.get(FACT):
        recorder.facts({FACT: of_batch})
