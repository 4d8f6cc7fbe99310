"""The names that the recorder and every reader must agree on."""

from __future__ import annotations

PLUGIN_NAME = "losslens"
FORMAT = 1
"""Version of `Chunk.format` that this package writes; a larger one is from a newer LossLens."""

CHUNKS_PER_SHARD = 10
"""Chunks under one tag. TensorBoard's Python reader keeps 10 tensors of a tag where our flags do not reach it."""

TAG_PREFIX = "losslens/"
JUMP_TAG = "losslens/boundary_jump"
SUMMARY_TAG = "losslens/summary"


def batch_tag(session: str, shard: int) -> str:
    """Tag of the chunks of batch columns and records: `losslens/<session>/b/<shard>`."""
    return f"{TAG_PREFIX}{session}/b/{shard}"


def ids_tag(session: str, shard: int) -> str:
    """Tag of the chunks of sample ids: `losslens/<session>/i/<shard>`."""
    return f"{TAG_PREFIX}{session}/i/{shard}"


def parse_tag(tag: str) -> tuple[str, str, int] | None:
    """`(session, "b" or "i", shard)` of a chunk's tag, or None for any other tag."""
    parts = tag.split("/")
    if len(parts) != 4 or parts[0] != PLUGIN_NAME or parts[2] not in ("b", "i") or not parts[3].isdigit():
        return None
    return parts[1], parts[2], int(parts[3])
