"""In which state the random generators were when epochs began, and which epochs drew the same numbers as an earlier one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tb_losslens.analysis.restarts import restarts
from tb_losslens.store.run import Epoch, Run

WORKERS = "workers"


@dataclass(frozen=True)
class States:
    """What is known of one epoch.

    Attributes:
        process: number of the process that trained it.
        began: digest by generator at its begin; the seed of the workers under `WORKERS`, unless they outlive the epoch.
        drawn: generators that were used in it; the workers are not asked.
    """

    process: int
    began: Mapping[str, str]
    drawn: frozenset[str]


@dataclass(frozen=True)
class Again:
    """Epochs that begin with a generator in the state that an earlier epoch of the same process began with.

    Attributes:
        name: generator ("torch", "cuda:0", "numpy", "python" or `WORKERS`).
        epochs: positions in `Run.epochs`, each with the first one that had this state.
        known: epochs in which the generator's state was recorded.
    """

    name: str
    epochs: tuple[tuple[int, int], ...]
    known: int


def random_states(run: Run, epochs: Sequence[Epoch]) -> list[States | None]:
    """One for each epoch, None where nothing was recorded."""
    starts = [one.row for one in restarts(run)]
    begins = {(e.batch, e.fields.get("epoch")): e.fields for e in run.events if e.kind == "epoch_begin"}
    out: list[States | None] = []
    for epoch in epochs:
        fields = begins.get((epoch.first, epoch.epoch), {})
        if not {"rng", "loader", "worker_seed"} & fields.keys() and "loader" not in epoch.fields:
            out.append(None)
            continue
        began = {str(name): str(digest) for name, digest in _mapping(fields.get("rng")).items()}
        loader = _mapping(fields.get("loader")) or _mapping(epoch.fields.get("loader"))
        seed = fields.get("worker_seed", loader.get("worker_seed"))
        persist = fields.get("workers_persist", loader.get("workers_persist"))
        if seed is not None and persist is False:
            began[WORKERS] = f"{seed} of {loader.get('workers')}"
        drawn = frozenset(str(name) for name, used in _mapping(epoch.fields.get("rng_used")).items() if used is True)
        process = sum(row <= epoch.first for row in starts)
        out.append(States(process, began, drawn) if began else None)
    return out


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def drawn_again(states: Sequence[States | None]) -> list[Again]:
    """The generators whose state came back at the begin of an epoch although an earlier one with it had drawn from it.

    A generator that nobody draws from keeps its state, which proves nothing. A new process begins with the seed of the script.
    """
    names = dict.fromkeys(name for one in states if one for name in one.began)
    out = []
    for name in names:
        first: dict[tuple[int, str], int] = {}
        pairs, known = [], 0
        for k, one in enumerate(states):
            if one is None or name not in one.began:
                continue
            known += 1
            key = (one.process, one.began[name])
            earlier = first.get(key)
            if earlier is not None and (name == WORKERS or _draws(states, earlier, k, name)):
                pairs.append((k, earlier))
            first.setdefault(key, k)
        if pairs:
            out.append(Again(name, tuple(pairs), known))
    return out


def _draws(states: Sequence[States | None], earlier: int, k: int, name: str) -> bool:
    """True if an epoch from `earlier` on and before `k` drew from the generator."""
    return any(one is not None and name in one.drawn for one in states[earlier:k])


def draws_of(states: Sequence[States | None]) -> list[str]:
    """Generators that some epoch drew from."""
    return sorted({name for one in states if one for name in one.drawn})
