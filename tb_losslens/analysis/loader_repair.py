"""The code that mends the order of a loader, with the numbers of the loader that was recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tb_losslens.analysis.context import Context
from tb_losslens.analysis.finding import Evidence
from tb_losslens.analysis.orders import loader_of
from tb_losslens.store.run import Epoch


def repair_shuffle(context: Context, buffer: float) -> tuple[str, str]:
    """(advice, code) for the loader of this run."""
    loader = loader_of(context.run)
    size = loader.get("batch_size")
    batch = f", batch_size={size}" if isinstance(size, int) else ""
    total = loader.get("dataset_size") or context.run.facts.get("dataset_size")
    if loader.get("shuffle") is False or loader.get("sampler") == "SequentialSampler":
        return (
            "Shuffle the samples in each epoch.",
            f"train_loader = DataLoader(dataset{batch}, shuffle=True)     # was shuffle=False",
        )
    if math.isfinite(buffer) and isinstance(total, int):
        now = f"# mixes within about {max(1, round(buffer)):,} of {total:,} samples now\n"
        return (
            "Draw each epoch from all samples, or shuffle the shards and keep a buffer over several of them.",
            f"{now}train_loader = DataLoader(dataset{batch}, shuffle=True)",
        )
    return (
        "Draw the order of each epoch from all samples; with shards, shuffle them and mix several at a time.",
        f"train_loader = DataLoader(dataset{batch}, shuffle=True)     # or a sampler over all {total or 'samples'}",
    )


def repair_order(context: Context, repeated: Sequence[Epoch]) -> tuple[str, str, list[Evidence]]:
    """(advice, code, what speaks against) for the loader of the epochs that had one order."""
    loader = loader_of(context.run, repeated)
    size = loader.get("batch_size")
    batch = f", batch_size={size}" if isinstance(size, int) else ""
    sampler = loader.get("sampler")
    epochs = len(context.epochs)
    if sampler == "DistributedSampler":
        line = f"    train_loader.sampler.set_epoch(epoch)     # missing: {len(repeated)} epochs had one order\n"
        fix = f"for epoch in range({epochs}):\n{line}    for x, y in train_loader:\n        ..."
        return "Tell the distributed sampler the epoch.", fix, []
    if loader.get("shuffle") is False or sampler == "SequentialSampler":
        fix = f"train_loader = DataLoader(dataset{batch}, shuffle=True)     # was shuffle=False"
        against = Evidence("the loader was built with shuffle=False, so a fixed order may be meant")
        advice = "Let the loader draw a new order each epoch. Shuffling the data once beforehand only fixes another order."
        return advice, fix, [against]
    if loader.get("shuffle") is True or sampler in ("RandomSampler", "WeightedRandomSampler", "SubsetRandomSampler"):
        fix = (
            "generator = torch.Generator().manual_seed(0)     # once, before the epochs\n"
            f"train_loader = DataLoader(dataset{batch}, shuffle=True, generator=generator)\n"
            f"for epoch in range({epochs}):                          # no manual_seed and no new loader in here\n"
            "    for x, y in train_loader:\n        ..."
        )
        return "The loader shuffles, but from the same seed each epoch: seed once, and build the loader once.", fix, []
    name = f"`{sampler}`" if isinstance(sampler, str) else "the sampler"
    fix = (
        f"rng = numpy.random.default_rng(0)                # once\nfor epoch in range({epochs}):\n"
        "    order = rng.permutation(len(dataset))        # new each epoch\n    ..."
    )
    return f"Let {name} draw a new order in each epoch, from one generator for the whole run.", fix, []


def repair_last_batch(context: Context, usual: float, n: float) -> str:
    """The line that leaves the ragged batch out: `n` samples where the others have `usual`."""
    shuffle = loader_of(context.run).get("shuffle")
    keep = f", shuffle={shuffle}" if isinstance(shuffle, bool) else ""
    return f"train_loader = DataLoader(dataset, batch_size={usual:.0f}{keep}, drop_last=True)     # the last one has {n:.0f}"
