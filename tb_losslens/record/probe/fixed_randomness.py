"""Runs code on random numbers of its own, and leaves those of the training as they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator

SEED = 20_011
"""Everything inside begins with it, so that a model that draws numbers even in evaluation draws the same ones each time."""


@contextmanager
def fixed_randomness(devices: Iterable[torch.device] = (), generators: Iterable[Generator] = ()) -> Iterator[None]:
    """Inside, every stream begins at `SEED`; afterwards each goes on where it was, bit for bit.

    These are the default streams of torch on the CPU and on every CUDA device (if CUDA is in use: else nothing of it is
    touched, since a seed would wait there until it is), of Python's `random` and of NumPy's global generator.

    Args:
        devices: devices of another kind that are computed on.
        generators: further generators of torch, such as those that modules keep.
    """
    known = [torch.default_generator, *_of_cuda(), *generators]
    streams = list({id(generator): generator for generator in known}.values())
    states = [generator.get_state() for generator in streams]
    others = [_of_device(device) for device in devices if device.type not in ("cpu", "cuda", "meta")]
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it is what trainings draw from
    with ExitStack() as stack:
        for generator, state in zip(streams, states, strict=True):
            stack.callback(surely, partial(generator.set_state, state))
        for restore in others:
            stack.callback(surely, restore)
        stack.callback(surely, partial(random.setstate, python))
        stack.callback(surely, partial(np.random.set_state, legacy))
        for generator in streams:
            generator.manual_seed(SEED)
        random.seed(SEED)
        np.random.seed(SEED)  # noqa: NPY002 - the same
        yield


def surely(restore: Callable[[], object]) -> None:
    """Restores also where an interrupt, or want of memory, comes in its middle; to call it twice must be as good as once."""
    try:
        restore()
    except BaseException:
        restore()
        raise


def _of_cuda() -> list[Generator]:
    return list(torch.cuda.default_generators) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]


def _of_device(device: torch.device) -> Callable[[], None]:
    """Puts back the stream of a device such as MPS or XPU, as it is now."""
    module: Any = getattr(torch, device.type)
    state = module.get_rng_state()
    return lambda: module.set_rng_state(state)
