"""The code that mends a loader is run as it stands, against a real loader of each kind."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
)

from tb_losslens.analysis.engine import build_context
from tb_losslens.analysis.loader_repair import loader_kind, repair_last_batch, repair_order, repair_shuffle
from tb_losslens.record.loader_facts import loader_facts
from tb_losslens.store.run import Run, RunEvent

N, SIZE, EPOCHS = 101, 8, 4
DATA = TensorDataset(torch.arange(N).float()[:, None], torch.arange(N) // 20)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        info = torch.utils.data.get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter([DATA[i] for i in range(first, N, step)])


class InOrder(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        return iter(range(N))

    def __len__(self) -> int:
        return N


class Buckets(Sampler[list[int]]):
    def __iter__(self) -> Iterator[list[int]]:
        return iter([list(range(i, min(N, i + SIZE))) for i in range(0, N, SIZE)])

    def __len__(self) -> int:
        return math.ceil(N / SIZE)


def batches() -> list[Any]:
    return list(DataLoader(DATA, batch_size=SIZE))


LOADERS: dict[str, Callable[[], Any]] = {
    "in order": lambda: DataLoader(DATA, batch_size=SIZE),
    "shuffled": lambda: DataLoader(DATA, batch_size=SIZE, shuffle=True),
    "workers": lambda: DataLoader(DATA, batch_size=SIZE, num_workers=2),
    "weighted": lambda: DataLoader(DATA, batch_size=SIZE, sampler=WeightedRandomSampler([1.0] * N, N)),
    "sampler": lambda: DataLoader(DATA, batch_size=SIZE, sampler=InOrder()),
    "torch's batch sampler": lambda: DataLoader(DATA, batch_sampler=BatchSampler(InOrder(), SIZE, False)),
    "batch sampler": lambda: DataLoader(DATA, batch_sampler=Buckets()),
    "iterable": lambda: DataLoader(Stream(), batch_size=SIZE),
    "iterable workers": lambda: DataLoader(Stream(), batch_size=SIZE, num_workers=2),
    "distributed": lambda: DataLoader(DATA, batch_size=SIZE, sampler=DistributedSampler(DATA, 1, 0, shuffle=True)),
    "distributed in order": lambda: DataLoader(DATA, batch_size=SIZE, sampler=DistributedSampler(DATA, 1, 0, shuffle=False)),
    "list": batches,
    "generator": lambda: (batch for batch in batches()),
}


def context_of(loader: Any) -> Any:
    sizes = np.array([SIZE] * (N // SIZE) + [N % SIZE])
    n = len(sizes) * EPOCHS
    facts = loader_facts(loader)
    run = Run.from_arrays(loss=np.random.default_rng(0).random(n), epoch_length=len(sizes), batch_size=np.tile(sizes, EPOCHS))
    ends = tuple(RunEvent("epoch_end", (e + 1) * len(sizes), fields={"epoch": e, "loader": facts}) for e in range(EPOCHS))
    return build_context(Run(run.name, run.columns, events=ends))


class _Writer:
    @staticmethod
    def wrap(loader: Any) -> Any:
        return loader


def after(code: str, loader: Any, dataset: Dataset[Any]) -> Any:
    """The loader that is there once the code was run beside the one that was recorded."""
    seen: dict[str, Any] = {
        "torch": torch, "DataLoader": DataLoader, "dataset": dataset, "train_loader": loader, "writer": _Writer(),
        "weights": [1.0] * N, "epochs": 1,
    }  # fmt: skip
    original = torch.utils.data.DistributedSampler
    torch.utils.data.DistributedSampler = lambda data, **k: original(data, 1, 0, **k)  # type: ignore[assignment,misc]
    try:
        exec(code, seen)
    finally:
        torch.utils.data.DistributedSampler = original  # type: ignore[misc]
    return seen["train_loader"]


def order(loader: Any) -> list[int]:
    return [int(i) for x, _ in loader for i in x[:, 0]]


def dataset_of(name: str) -> Any:
    return Stream() if name.startswith("iterable") else DATA


@pytest.mark.parametrize("name", LOADERS)
def test_the_code_for_a_shuffle_runs_and_shuffles(name: str) -> None:
    torch.manual_seed(0)
    random.seed(0)
    loader = LOADERS[name]()
    _, code = repair_shuffle(context_of(loader), float("nan"))
    assert "train_loader = writer.wrap(DataLoader(" in code  # else the mended training is not recorded as the first was
    mended = after(code, loader, dataset_of(name))
    first, second = order(mended), order(mended)
    if not name.startswith("distributed"):  # whose epoch the loop sets
        assert first != second
    assert sorted(first) == list(range(N))
    assert abs(np.corrcoef(first, np.arange(N))[0, 1]) < 0.5


@pytest.mark.parametrize("name", LOADERS)
def test_the_code_for_the_order_runs_and_gives_another_one_each_epoch(name: str) -> None:
    torch.manual_seed(0)
    random.seed(0)
    loader = LOADERS[name]()
    context = context_of(loader)
    _, code, _ = repair_order(context, context.epochs)
    mended = after(code, loader, dataset_of(name))
    first = order(mended)
    if name.startswith("distributed"):
        mended.sampler.set_epoch(EPOCHS + 1)
    assert first != order(mended)
    assert name == "weighted" or sorted(first) == list(range(N))


@pytest.mark.parametrize("name", [name for name in LOADERS if name != "iterable workers"])
def test_the_code_for_the_last_batch_leaves_it_out_and_keeps_the_order(name: str) -> None:
    loader = LOADERS[name]()
    expected = order(LOADERS[name]())[: N // SIZE * SIZE]
    code = repair_last_batch(context_of(loader), SIZE, N % SIZE)
    if "continue" in code:  # a filter in the loop: nothing new is built
        seen: list[int] = []
        body = code.replace("    ...", "    seen.extend(int(i) for i in x[:, 0])")
        exec(body, {"train_loader": loader, "seen": seen, "epochs": 1})
    else:
        seen = order(after(code, loader, dataset_of(name)))
    assert len(seen) == N // SIZE * SIZE
    if name not in ("shuffled", "weighted"):
        assert seen == expected


def test_what_each_loader_is_taken_for() -> None:
    kinds = {name: loader_kind(loader_facts(make())) for name, make in LOADERS.items()}
    assert kinds == {
        "in order": "map",
        "shuffled": "map",
        "workers": "map",
        "weighted": "weighted",
        "sampler": "sampler",
        "torch's batch sampler": "sampler",
        "batch sampler": "batch_sampler",
        "iterable": "iterable",
        "iterable workers": "iterable",
        "distributed": "distributed",
        "distributed in order": "distributed",
        "list": "list",
        "generator": "unknown",
    }
    assert loader_kind({}) == "unknown"
    assert loader_kind({"shuffle": False}) == "map"  # all that an old recording says
    assert loader_kind(loader_facts(DataLoader(DATA, sampler=RandomSampler(DATA)))) == "map"


def test_a_buffer_is_no_larger_than_memory_bears() -> None:
    context = context_of(LOADERS["iterable"]())
    run = context.run
    big = Run(run.name, {**run.columns, "batch_size": np.full(len(run), 10_000)}, events=run.events)
    assert "Mixed(dataset, 10000)" in repair_shuffle(build_context(big), float("nan"))[1]
    assert f"Mixed(dataset, {N})" in repair_shuffle(context, float("nan"))[1]
