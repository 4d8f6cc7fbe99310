"""Answers how a loader orders and groups its samples, without asking it for any."""

from __future__ import annotations

from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler


def loader_facts(loader: Any) -> dict[str, Any]:
    """Facts of a loader, for the fields of an epoch.

    Returns:
        `class`, `batch_size`, `shuffle` (None where unknown), `drop_last`, `workers`, `sampler`, `batch_sampler`,
        `generator` (True if the order is drawn from a generator of its own), `dataset_size`, `batches`. Only lengths
        of torch's own classes are asked for: the `__len__` of another sampler may draw random numbers. The pass adds
        `data`, the number of the data set: with another number the same sample id is another sample.
    """
    facts: dict[str, Any] = {"class": type(loader).__name__}
    if not isinstance(loader, DataLoader):
        if isinstance(loader, (list, tuple)):
            facts["batches"] = len(loader)
        return facts
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler) if loader.batch_sampler is not None else loader.sampler
    iterable = isinstance(loader.dataset, IterableDataset)
    facts.update(
        batch_size=loader.batch_size if loader.batch_size is not None else getattr(loader.batch_sampler, "batch_size", None),
        drop_last=bool(loader.drop_last or getattr(loader.batch_sampler, "drop_last", False)),
        workers=loader.num_workers,
        dataset=type(loader.dataset).__name__,
        shuffle=None if iterable else _shuffles(sampler),
        sampler=None if iterable else type(sampler).__name__,
        batch_sampler=None if iterable or loader.batch_sampler is None else type(loader.batch_sampler).__name__,
        generator=getattr(sampler, "generator", None) is not None or loader.generator is not None,
    )
    if getattr(loader, "in_order", True) is False:
        facts["in_order"] = False
    if isinstance(sampler, DistributedSampler):
        facts["sampler_epoch"] = sampler.epoch
    if not iterable:
        size = getattr(type(loader.dataset), "__len__", None)
        facts["dataset_size"] = int(size(loader.dataset)) if size is not None else None
        if _is_torchs(sampler) and (loader.batch_sampler is None or type(loader.batch_sampler) is BatchSampler):
            facts["batches"] = len(loader)
    return facts


def _shuffles(sampler: Any) -> bool | None:
    if isinstance(sampler, DistributedSampler):
        return bool(sampler.shuffle)
    if isinstance(sampler, RandomSampler):
        return True
    return False if isinstance(sampler, SequentialSampler) else None


def _is_torchs(sampler: Any) -> bool:
    return type(sampler).__module__.startswith("torch.utils.data")
