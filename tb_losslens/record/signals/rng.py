"""Answers in which state the generators of random numbers are at both ends of an epoch, and which were used in it."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tb_losslens.record.batch import Batch
from tb_losslens.record.collector import Collector


def rng_digests() -> tuple[dict[str, str], dict[str, str]]:
    """Digests of the global generators, and why some have none. Nothing is drawn, and no device is waited for.

    Returns:
        16 hexadecimal digits by generator: "torch" (of the CPU), "cuda:0", ..., "numpy" (the global one of `numpy.random`),
        "python" (of `random`); and the reasons by name.
    """
    digests = {
        "torch": _digest(torch.default_generator.get_state().numpy()),
        "numpy": _digest(np.random.get_state(legacy=False)),  # noqa: NPY002 - the one that user code draws from
        "python": _digest(_python_state()),
    }
    skipped: dict[str, str] = {}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for number, generator in enumerate(torch.cuda.default_generators):
            try:
                # seed and offset of Philox are kept on the host
                digests[f"cuda:{number}"] = _digest(generator.get_state().numpy())
            except RuntimeError as error:  # while a CUDA graph is being captured
                skipped[f"cuda:{number}"] = str(error).split("\n", maxsplit=1)[0][:120]
    if torch.backends.mps.is_available():
        skipped["mps"] = "its state is on the device, which would have to be waited for"
    return digests, skipped


def generator_digests(loader: Any) -> dict[str, str]:
    """Digests of the generators that a `DataLoader` and its sampler have of their own: "loader", "sampler"."""
    sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", None) or getattr(loader, "sampler", None)
    owners = {"loader": loader, "sampler": sampler}
    found = {name: getattr(owner, "generator", None) for name, owner in owners.items()}
    return {name: _digest(one.get_state().numpy()) for name, one in found.items() if isinstance(one, torch.Generator)}


def worker_seed(iterator: Any) -> dict[str, Any]:
    """What the workers of a `DataLoader` iterator were seeded with; empty without workers, or where it cannot be known.

    Returns:
        `worker_seed`: worker w began with torch's seed `worker_seed + w`, as text, since JSON has no 64-bit integers.
        `workers_persist`: the workers outlive the epoch. They go on with the random numbers where they were, so that the same
        seed in the next epoch says nothing.
    """
    seed = getattr(iterator, "_base_seed", None)
    if not isinstance(seed, int) or not getattr(iterator, "_num_workers", 0):
        return {}
    return {"worker_seed": str(seed), "workers_persist": bool(getattr(iterator, "_persistent_workers", False))}


class RandomStates(Collector):
    """Digests of the random generators at both ends of each epoch.

    Equal digests at two epoch starts prove that the same numbers were drawn twice only where `rng_used` says
    that the generator was used in between.
    """

    dear_ends = exact_ends = True
    name = "states of the random generators"

    def __init__(self) -> None:
        self._began: dict[str, str] = {}
        self._loader: Mapping[str, Any] = {}

    def delivered(self, batch: Batch, raw: Any) -> None:  # noqa: ARG002 - a collector's signature
        """Keeps the facts of the loader that feeds the epoch."""
        self._loader = getattr(batch.source, "loader", None) or {}

    def epoch_begins(self, epoch: int) -> dict[str, Any]:  # noqa: ARG002 - a collector's signature
        """`rng`: digest by generator; `rng_skipped`: reasons; `worker_seed` and `workers_persist` where the loader has them."""
        self._began, skipped = rng_digests()
        seeds = {name: self._loader[name] for name in ("worker_seed", "workers_persist") if name in self._loader}
        return {"rng": self._began, **({"rng_skipped": skipped} if skipped else {}), **seeds}

    def epoch_ends(self, epoch: int) -> dict[str, Any]:  # noqa: ARG002 - a collector's signature
        """`rng`, and `rng_used`: whether the state differs from that at the begin, where that was read.

        A generator that came since is not in it.
        """
        ended, skipped = rng_digests()
        used = {name: ended[name] != digest for name, digest in self._began.items() if name in ended}
        return {"rng": ended, **({"rng_used": used} if used else {}), **({"rng_skipped": skipped} if skipped else {})}

    def unread(self, kind: str, epoch: int) -> None:  # noqa: ARG002 - a collector's signature
        """What the states were before says nothing of the next epoch."""
        self._began = {}


def _python_state() -> list[Any]:
    version, internal, gauss = random.getstate()
    return [version, np.frombuffer(array("I", internal), dtype=np.uint32), gauss]  # several times as fast as from a tuple


def _digest(state: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    _add(digest, state)
    return digest.hexdigest()


def _add(digest: hashlib.blake2b, state: Any) -> None:
    """Adds a state of any nesting; a bit generator of another kind than numpy's first has fields of its own."""
    if isinstance(state, np.ndarray):
        digest.update(np.ascontiguousarray(state).tobytes())
    elif isinstance(state, Mapping):
        for key in sorted(state, key=str):
            digest.update(str(key).encode())
            _add(digest, state[key])
    elif isinstance(state, (list, tuple)):
        for item in state:
            _add(digest, item)
    else:
        digest.update(f"{state!r};".encode())
