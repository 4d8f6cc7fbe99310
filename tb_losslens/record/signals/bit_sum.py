"""Sums the bits of tensors to one number: equal bits give equal sums, on any device, in whatever order they are added.

Integers modulo 2**64 throughout: no rounding, so a NaN equals itself and a sum does not depend on how a device groups
it. Each eight bytes are mixed with their upper half (else two sign bits would cancel), and multiplied with odd numbers of
their place, name, type and shape: what is swapped, renamed or reshaped has another sum. A single change always shows in the
64 bits; anything else is missed with the odds of a hash.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tb_losslens.record import digests
from tb_losslens.record.host_view import host_view
from tb_losslens.record.measures import local

BITS = 52
"""Bits of a sum that are kept: a float64 holds them exactly, so that they travel like every other number of a device."""

SAMPLED_FROM = 1 << 32
"""Bytes of one tensor from which its sum is a plain one and only a fixed sample of its places is weighted."""

_WIDTH = 8192
_BLOCK = 1 << 18
_PIECE = 1 << 16
"""Words of a block that are worked on at a time on the CPU: they and what is made of them stay in its caches."""

_SAMPLE = 1 << 16
_PLAIN = (nn.Parameter, Tensor)
_NUMBERS = frozenset(
    {torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
)
_SPREAD = -7046029254386353131  # 2**64 divided by the golden ratio, odd
_AGAIN = -4658895280553007687  # a multiplier of splitmix64 (Steele, Lea and Flood 2014)


def bit_sum(name: str, tensor: Tensor, *, sampled_from: int = SAMPLED_FROM) -> int | Tensor:
    """Sum of one tensor under its name: an int on the CPU, else a 0-d int64 tensor on its device, which nothing waits for.

    Args:
        name: of the tensor.
        tensor: any strided, sparse or sharded one (of which the part of this process counts), any type, also empty.
        sampled_from: bytes from which places are sampled.

    Raises:
        ValueError: it has no numbers to read (meta device, lazy, a layout that is not known), with the reason.
    """
    if torch.nn.parameter.is_lazy(tensor):
        raise ValueError("it is not initialised")
    plain = type(tensor) in _PLAIN and tensor.dtype in _NUMBERS and tensor.layout is torch.strided
    if plain and tensor.is_cpu and tensor.is_contiguous() and not tensor.is_neg():
        octets = host_view(tensor).reshape(-1).view(np.uint8)
        if 0 < len(octets) < min(sampled_from, _BLOCK):  # most tensors: the same sum, with less around it
            seed = _seed(f"{name}|0|{tensor.dtype}|{tuple(tensor.shape)}")
            return int(_wrap(_wrap((digests.weighted or weighted)(octets) * _AGAIN * seed) + seed))
    with torch.no_grad():
        parts = _parts(local(tensor.detach()))
        total: int | Tensor = 0
        for number, part in enumerate(parts):
            seed = _seed(f"{name}|{number}|{part.dtype}|{tuple(part.shape)}")
            total = _wrap(total + _wrap(_sum(_words(part), sampled_from) * seed) + seed)
        return total


def weighted(octets: NDArray[np.uint8]) -> int:
    """`_weighted_words` of the bytes of one block, shape (n,); compiled in digests.c."""
    rest = -len(octets) % 8
    words = (np.concatenate([octets, np.zeros(rest, np.uint8)]) if rest else octets).view(np.int64)
    return _weighted_words(words, np.empty(min(len(words), _PIECE), np.int64))


def fold(total: int | Tensor) -> int | Tensor:
    """The upper 52 bits of a sum, spread over all of them: an int, or a 0-d int64 tensor."""
    spread = _wrap(total * _SPREAD)
    return (spread >> (64 - BITS)) & ((1 << BITS) - 1)


def _parts(tensor: Tensor) -> list[Tensor]:
    """Strided tensors that hold all its numbers, its indices among them if it is sparse."""
    if tensor.device.type == "meta":
        raise ValueError("it is on the meta device and has no numbers")
    if tensor.is_quantized:
        tensor = tensor.int_repr()
    if tensor.layout == torch.strided:
        return [tensor.resolve_conj().resolve_neg()]
    if tensor.layout == torch.sparse_coo:
        if tensor.device.type != "cpu" and not tensor.is_coalesced():
            raise ValueError("it is sparse, and to put it together its device would have to be waited for")
        whole = tensor.coalesce()
        return [whole.indices(), whole.values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    raise ValueError(f"its layout {tensor.layout} is not known")


def _words(tensor: Tensor) -> Tensor:
    """Its bytes in order as int64, shape (ceil(bytes / 8),), the last one filled up with zeros."""
    flat = tensor.contiguous().reshape(-1)
    if not flat.numel():
        return torch.zeros(0, dtype=torch.int64, device=flat.device)
    octets = flat.view(torch.uint8)
    if octets.storage_offset() % 8:
        octets = octets.clone()
    rest = octets.numel() % 8
    if not rest:
        return octets.view(torch.int64)
    if octets.numel() < 1 << 16:
        return torch.nn.functional.pad(octets, (0, 8 - rest)).view(torch.int64)
    end = torch.nn.functional.pad(octets[-rest:], (0, 8 - rest)).view(torch.int64)
    return torch.cat([octets[:-rest].view(torch.int64), end])


def _sum(words: Tensor, sampled_from: int) -> int | Tensor:
    size = words.numel()
    if size * 8 < sampled_from:
        return _weighted(words)
    sample = words[:: max(1, size // _SAMPLE)]
    plain = words.sum()
    return _wrap(_weighted(sample) + (int(plain) if words.device.type == "cpu" else plain))


def _weighted(words: Tensor) -> int | Tensor:
    """Sum of mixed words, each times the odd numbers of its row and its column in a table of 8192 columns."""
    on_cpu = words.device.type == "cpu"
    total: int | Tensor = 0
    room = np.empty(min(words.numel(), _PIECE), np.int64) if on_cpu else None
    for row, begin in enumerate(range(0, words.numel(), _BLOCK)):
        block = words[begin : begin + _BLOCK]
        part = _weighted_on_device(block) if room is None else _weighted_words(host_view(block), room)
        total = _wrap(total + _wrap(part * _wrap((2 * row + 1) * _AGAIN)))
    return total


def _weighted_words(words: NDArray[np.int64], room: NDArray[np.int64]) -> int:
    """Of one block, shape (n,); `room`, of shape (n,) or of a piece, is written over."""
    total, columns = 0, _columns()
    for begin in range(0, len(words), _PIECE):
        piece = words[begin : begin + _PIECE]
        mixed = room[: len(piece)]
        np.right_shift(piece, 32, out=mixed)
        mixed ^= piece
        whole = len(mixed) // _WIDTH * _WIDTH
        total += int(np.dot(mixed[whole:], columns[: len(mixed) - whole]))
        if whole:
            rows = np.einsum("ij,j->i", mixed[:whole].reshape(-1, _WIDTH), columns)
            first = begin // _WIDTH + 1
            total += int(np.dot(rows, columns[first : first + len(rows)]))
    return total


def _weighted_on_device(block: Tensor) -> Tensor:
    mixed = block ^ (block >> 32)
    columns = _multipliers(str(block.device), _WIDTH)
    whole = mixed.numel() // _WIDTH * _WIDTH
    total = (mixed[whole:] * columns[: mixed.numel() - whole]).sum()
    if whole:
        rows = (mixed[:whole].reshape(-1, _WIDTH) * columns).sum(1)
        total = total + (rows * columns[1 : len(rows) + 1]).sum()
    return total


@lru_cache(maxsize=16)
def _multipliers(device: str, size: int) -> Tensor:
    """Odd int64 numbers, shape (size,), the same on every device; made there, so that nothing is copied to it."""
    numbers = torch.arange(1, size + 1, dtype=torch.int64, device=device) * _SPREAD
    numbers = (numbers ^ (numbers >> 31)) * _AGAIN
    return (numbers ^ (numbers >> 29)) | 1


@lru_cache(maxsize=1)
def _columns() -> NDArray[np.int64]:
    multipliers: NDArray[np.int64] = _multipliers("cpu", _WIDTH).numpy()
    return multipliers


@lru_cache(maxsize=1 << 14)
def _seed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True) | 1


def _wrap(value: int | Tensor) -> int | Tensor:
    """`value` modulo 2**64 as a signed integer; tensors wrap by themselves."""
    if isinstance(value, Tensor):
        return value
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
