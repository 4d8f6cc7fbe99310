"""The code that mends the order of a loader: it runs as it stands for the kind of loader that was recorded."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.orders import loader_of
from tb_losslens.store.run import Epoch

LoaderKind = Literal["map", "weighted", "distributed", "sampler", "batch_sampler", "iterable", "list", "unknown"]
"""What draws the order: the loader itself, a sampler of torch's or of the user's own, or the data set."""

MOST_BUFFERED = 10_000
"""Samples that a proposed buffer holds at most: it lies in memory, once in each worker."""

_BUFFER = '''\
import random

class Mixed(torch.utils.data.IterableDataset):
    """The samples of another one, drawn from a buffer."""

    def __init__(self, dataset, size):
        self.dataset, self.size = dataset, size

    def __iter__(self):
        buffer = []
        for sample in self.dataset:{workers}
            if len(buffer) < self.size:
                buffer.append(sample)
                continue
            at = random.randrange(self.size)
            sample, buffer[at] = buffer[at], sample
            yield sample
        random.shuffle(buffer)
        yield from buffer

train_loader = writer.wrap(DataLoader(Mixed(dataset, {size}){arguments}))'''


def loader_kind(loader: Mapping[str, Any]) -> LoaderKind:
    """What kind of loader these facts are of; `loader` as `loader_of` gives it."""
    if "sampler" in loader:
        sampler, batches = loader["sampler"], loader.get("batch_sampler")
        if sampler is None:
            return "iterable"
        if "sampler_epoch" in loader or sampler == "DistributedSampler":
            return "distributed"
        if batches not in (None, "BatchSampler"):
            return "batch_sampler"
        if sampler in ("RandomSampler", "SequentialSampler"):
            return "map"
        return "weighted" if sampler in ("WeightedRandomSampler", "SubsetRandomSampler") else "sampler"
    if loader.get("class") in ("list", "tuple"):
        return "list"
    return "map" if isinstance(loader.get("shuffle"), bool) else "unknown"


def repair_shuffle(context: Context, buffer: float) -> tuple[str, str]:
    """(advice, code) for the loader of this run; `buffer` is the size of the one that it seems to mix with, NaN if none."""
    loader = loader_of(context.run)
    kind = loader_kind(loader)
    total = loader.get("dataset_size") or context.run.facts.get("dataset_size")
    advice = "Shuffle the samples in each epoch." if in_order(loader) else "Draw the order of each epoch from all samples."
    now = ""
    if math.isfinite(buffer) and isinstance(total, int):
        now = f"# mixes within about {max(1, round(buffer)):,} of {total:,} samples now\n"
    if kind == "iterable":
        return "Shuffle the shards, and mix their samples in a buffer: the larger, the better.", now + _mixed(context, loader)
    return advice, now + _shuffling(context, loader)


def repair_order(context: Context, repeated: Sequence[Epoch]) -> tuple[str, str, list[Evidence]]:
    """(advice, code, what speaks against) for the loader of the epochs that had one order."""
    loader = loader_of(context.run, repeated)
    kind = loader_kind(loader)
    if kind == "distributed" and loader.get("shuffle") is not False:
        line = f"    train_loader.sampler.set_epoch(epoch)     # missing: {len(repeated):,} epochs had one order\n"
        fix = f"for epoch in range(epochs):     # as many as before\n{line}    for x, y in train_loader:\n        ..."
        return "Tell the distributed sampler the epoch.", fix, []
    if kind == "iterable":
        advice = (
            "The data set gives its samples in one order each time. Shuffle its shards anew in `__iter__`, or mix in a buffer."
        )
        return advice, _mixed(context, loader), []
    if in_order(loader):
        against = Evidence("the loader was built with shuffle=False, so a fixed order may be meant")
        advice = "Let the loader draw a new order each epoch. Shuffling the data once beforehand only fixes another order."
        return advice, _shuffling(context, loader), [against]
    if kind in ("map", "weighted"):
        fix = (
            "generator = torch.Generator().manual_seed(0)     # once, before the epochs\n"
            f"{_drawing(loader, 'generator=generator')}\n"
            "for epoch in range(epochs):     # as many as before; no manual_seed and no new loader in here\n"
            "    for x, y in train_loader:\n        ..."
        )
        return "The loader shuffles, but from the same seed each epoch: seed once, and build the loader once.", fix, []
    if kind in ("list", "unknown"):
        return "Draw a new order in each epoch.", _shuffling(context, loader), []
    name = f"`{loader['batch_sampler' if kind == 'batch_sampler' else 'sampler']}`"
    advice = f"Let {name} draw a new order in each epoch from one generator for the whole run, or let the loader shuffle."
    return advice, _shuffling(context, loader), []


def repair_last_batch(context: Context, usual: float, n: float) -> str:
    """The lines that leave the ragged batch out: `n` samples where the others have `usual`."""
    loader = loader_of(context.run)
    kind = loader_kind(loader)
    said = f"     # the last one has {n:.0f}"
    if kind in ("batch_sampler", "list", "unknown"):
        return f"for x, y in train_loader:\n    if len(x) < {usual:.0f}:{said}\n        continue\n    ..."
    batch = f", batch_size={usual:.0f}"
    if kind in ("sampler", "weighted", "distributed"):
        keep = f", sampler=train_loader.batch_sampler.sampler{_workers(loader)}"
        return f"train_loader = writer.wrap(DataLoader(dataset{batch}{keep}, drop_last=True)){said}"
    shuffle = loader.get("shuffle")
    keep = f", shuffle={shuffle}" if isinstance(shuffle, bool) else ""
    return f"train_loader = writer.wrap(DataLoader(dataset{batch}{keep}{_workers(loader)}, drop_last=True)){said}"


def in_order(loader: Mapping[str, Any]) -> bool:
    """True if the loader says itself that it takes the samples in the order of the data set."""
    return loader.get("shuffle") is False or loader.get("sampler") == "SequentialSampler"


def _shuffling(context: Context, loader: Mapping[str, Any]) -> str:
    """Code that draws a new order of all samples in each epoch, for anything but an IterableDataset."""
    kind = loader_kind(loader)
    if kind == "distributed":
        return (
            "sampler = torch.utils.data.DistributedSampler(dataset, shuffle=True)\n"
            f"train_loader = writer.wrap(DataLoader(dataset{_arguments(loader, 'sampler=sampler')}))\n"
            "for epoch in range(epochs):     # as many as before\n"
            "    sampler.set_epoch(epoch)\n    for x, y in train_loader:\n        ..."
        )
    if kind == "list":
        size = typical_size(context)
        return (
            "# train_loader is the list of batches: its samples, not its batches, must be mixed\n"
            "samples = [sample for batch in train_loader for sample in zip(*batch)]\n"
            f"train_loader = writer.wrap(DataLoader(samples{f', batch_size={size}' if size else ''}, shuffle=True))"
        )
    if kind == "unknown":
        size = typical_size(context)
        return (
            "# dataset: whatever gives a sample by its index\n"
            f"train_loader = writer.wrap(DataLoader(dataset{f', batch_size={size}' if size else ''}, shuffle=True))"
        )
    code = f"train_loader = writer.wrap(DataLoader(dataset{_arguments(loader, 'shuffle=True')}))"
    if kind == "batch_sampler":
        return f"{code}     # in place of batch_sampler={loader['batch_sampler']}(...)"
    if kind in ("sampler", "weighted"):
        return f"{code}     # in place of sampler={loader['sampler']}(...)"
    return f"{code}     # was shuffle=False" if in_order(loader) else code


def _drawing(loader: Mapping[str, Any], generator: str) -> str:
    """The loader as it is, with a generator for its sampler."""
    sampler = loader.get("sampler")
    if sampler == "WeightedRandomSampler":
        made = f"torch.utils.data.WeightedRandomSampler(weights, len(weights), {generator})"
    elif sampler == "SubsetRandomSampler":
        made = f"torch.utils.data.SubsetRandomSampler(indices, {generator})"
    else:
        return f"train_loader = writer.wrap(DataLoader(dataset{_arguments(loader, f'shuffle=True, {generator}')}))"
    return f"train_loader = writer.wrap(DataLoader(dataset{_arguments(loader, f'sampler={made}')}))"


def _mixed(context: Context, loader: Mapping[str, Any]) -> str:
    """A buffer around an IterableDataset, as large as an epoch where that fits."""
    workers = loader.get("workers")
    many = isinstance(workers, int) and workers > 1
    note = f"     # each of the {workers} workers must get its own share of them, see get_worker_info()" if many else ""
    samples = float(sum(_sizes(context)))
    size = int(min(MOST_BUFFERED, max(2, samples / max(1, len(context.epochs)))))
    return _BUFFER.format(workers=note, size=size, arguments=_arguments(loader))


def _sizes(context: Context) -> list[float]:
    sizes = context.run.float("batch_size")
    return [float(size) for size in sizes if math.isfinite(size)]


def typical_size(context: Context) -> int:
    """The most frequent batch size, 0 where none is known."""
    sizes = Counter(_sizes(context))
    return int(sizes.most_common(1)[0][0]) if sizes else 0


def _arguments(loader: Mapping[str, Any], order: str = "") -> str:
    """Arguments of the recorded loader, with `order` in place of those that draw the order, each with a comma before it."""
    size = loader.get("batch_size")
    batch = f", batch_size={size}" if isinstance(size, int) else ""
    drop = ", drop_last=True" if loader.get("drop_last") is True else ""
    return f"{batch}{order and f', {order}'}{_workers(loader)}{drop}"


def _workers(loader: Mapping[str, Any]) -> str:
    workers = loader.get("workers")
    return f", num_workers={workers}" if isinstance(workers, int) and workers > 0 else ""
