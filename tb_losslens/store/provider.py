"""Reads recordings through TensorBoard's own data provider: whatever log directory TensorBoard opens, this opens."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tensorboard.data.provider import DataProvider, RunTagFilter

from tb_losslens.errors import LossLensError
from tb_losslens.events.codec import Chunk
from tb_losslens.events.metadata import PLUGIN_NAME, parse_tag
from tb_losslens.events.tail import Tail, tail_token
from tb_losslens.store.assemble import assemble
from tb_losslens.store.follow import Follower
from tb_losslens.store.logdir import StoredChunk, add_chunk, is_rank, is_tail, read_tails
from tb_losslens.store.ranks import merge, rank_of
from tb_losslens.store.recording import Recording
from tb_losslens.store.run import Run

_LOG = logging.getLogger(__name__)

EVERYTHING = 2**31
"""The largest `downsample` that both of TensorBoard's data providers take; 0 would give nothing, None raises."""

TAGS_A_READ = 16
"""Shards that are asked for at once: 160 chunks of 64 KiB are far below the 256 MiB of a gRPC response."""


class ProviderSource:
    """Recordings of one experiment, as TensorBoard has loaded them, and the tails of a local log directory.

    Thread-safe. A shard that another one follows never changes, so it is read and decoded once.

    Args:
        provider: TensorBoard's data provider.
        ctx: TensorBoard's request context.
        experiment_id: as the provider wants it.
        logdir: TensorBoard's log directory, where it is one directory on this machine: what TensorBoard has not loaded
            yet is read from the end of the event files and from the tails in it.
    """

    def __init__(
        self,
        provider: DataProvider,
        ctx: Any = None,
        experiment_id: str = "",
        logdir: str | os.PathLike[str] | None = None,
    ) -> None:
        self._provider = provider
        self._ctx = ctx
        self._experiment = experiment_id
        self._logdir = Path(logdir) if logdir and Path(logdir).is_dir() else None
        self._lock = threading.Lock()
        self._closed: dict[tuple[str, str], tuple[Chunk, ...]] = {}
        self._follower = Follower()

    def tokens(self) -> dict[str, Hashable]:
        """Each recorded run with a value that changes whenever the run does. Cheap; reads no data."""
        listing = self._list(None)
        paths = {name: PurePosixPath(name) for name in listing}
        names = set(paths.values())
        each: dict[str, Hashable] = {}
        for run, tags in listing.items():
            newest = max((series.max_wall_time, tag, series.max_step) for tag, series in tags.items())
            each[run] = (len(tags), newest, self._tail_token(run))
        ranks: dict[PurePosixPath, list[Hashable]] = {}
        for run in sorted(run for run in each if is_rank(paths[run], names)):
            ranks.setdefault(paths[run].parent, []).append(each[run])
        out: dict[str, Hashable] = {}
        for run, token in each.items():
            if not is_rank(paths[run], names):
                mine = ranks.get(paths[run], [])
                out[run] = (token, *mine) if mine else token
        with self._lock:
            for key in [key for key in self._closed if key[1] not in listing.get(key[0], {})]:
                del self._closed[key]
        return out

    def read(self, run: str) -> Run:
        """The whole run as TensorBoard knows it now, and the newest batches from its tails. Ids are read when asked for.

        What further processes of a distributed training recorded is merged into it.

        Raises:
            LossLensError: there is no recorded run of that name.
        """
        others = {rank_of(PurePosixPath(rank)): self._read_one(rank) for rank in _ranks_of(run, self._list(None))}
        return merge(self._read_one(run), others)

    def _read_one(self, run: str) -> Run:
        tags = self._list([run]).get(run)
        if not tags:
            raise LossLensError(f"There is no recorded run {run!r}.")
        recording = Recording(last_write=max(series.max_wall_time for series in tags.values()))
        batches, ids = _by_kind(tags)
        directory = self._directory(run)
        if directory is not None:
            read_tails(directory, recording)
        recording.chunks = list(self._chunks(run, batches, recording))
        newer = self._newer(directory, recording)
        recording.tails = [_attached(tail, recording.chunks) for tail in recording.tails]
        recording.has_ids = bool(ids or newer)

        def load_ids() -> list[Chunk]:
            late = Recording()
            for stored in newer:
                add_chunk(late, stored)
            return [*self._chunks(run, ids, Recording(), keep=False), *late.chunks]

        recording.ids = load_ids
        return assemble(run, recording)

    def _newer(self, directory: Path | None, recording: Recording) -> list[StoredChunk]:
        """Adds what TensorBoard has not loaded yet from local files; returns the chunks of ids among it."""
        if directory is None:
            return []
        with self._lock:
            newer = self._follower.newer(directory, _ends(recording.chunks))
        late = Recording()
        for stored in newer.batches:
            add_chunk(late, stored)  # one that is damaged is counted when TensorBoard has loaded it
        recording.chunks += late.chunks
        return newer.ids

    def forget(self, run: str) -> None:
        """Drops the decoded shards of a run; the next `read` asks TensorBoard for them again."""
        with self._lock:
            for key in [key for key in self._closed if key[0] in (run, *_ranks_of(run, [name for name, _ in self._closed]))]:
                del self._closed[key]

    def _list(self, runs: Sequence[str] | None) -> Mapping[str, Mapping[str, Any]]:
        wanted = RunTagFilter(runs=runs) if runs is not None else None
        found: Mapping[str, Mapping[str, Any]] = self._provider.list_tensors(
            self._ctx, experiment_id=self._experiment, plugin_name=PLUGIN_NAME, run_tag_filter=wanted
        )
        chunks = {run: {tag: series for tag, series in tags.items() if parse_tag(tag)} for run, tags in found.items()}
        return {run: tags for run, tags in chunks.items() if tags}

    def _chunks(self, run: str, tags: list[str], recording: Recording, *, keep: bool = True) -> Iterator[Chunk]:
        """The chunks of shards `tags`, which are in the order of each session; counts in `recording` what is damaged."""
        missing = [tag for tag in tags if (run, tag) not in self._closed]
        for at in range(0, len(missing), TAGS_A_READ):
            for tag, found in self._read(run, missing[at : at + TAGS_A_READ], recording).items():
                part = Recording()
                for stored in found:
                    add_chunk(part, stored)
                yield from part.chunks
                recording.corrupt += part.corrupt
                for version, count in part.newer.items():
                    recording.newer[version] = recording.newer.get(version, 0) + count
                whole = not part.corrupt and not part.newer
                if keep and whole and _successor(tag) in tags:
                    with self._lock:
                        self._closed[run, tag] = tuple(part.chunks)
        done = set(missing)
        for tag in tags:
            if tag not in done:
                yield from self._closed.get((run, tag), ())

    def _read(self, run: str, tags: list[str], recording: Recording) -> dict[str, list[StoredChunk]]:
        """Bytes of the chunks under each tag. One that cannot be read must not hide the others: then one at a time."""
        try:
            found = self._provider.read_tensors(
                self._ctx,
                experiment_id=self._experiment,
                plugin_name=PLUGIN_NAME,
                downsample=EVERYTHING,
                run_tag_filter=RunTagFilter(runs=[run], tags=tags),
            ).get(run, {})
            return {tag: [_stored(tag, datum) for datum in data] for tag, data in found.items()}
        except Exception:  # noqa: BLE001  whatever one bad shard raises, and there are many ways, the others are read
            if len(tags) == 1:
                _LOG.warning("TensorBoard cannot read %s of run %s", tags[0], run, exc_info=True)
                recording.corrupt += 1
                return {}
        out = {}
        for tag in tags:
            out.update(self._read(run, [tag], recording))
        return out

    def _directory(self, run: str) -> Path | None:
        if self._logdir is None:
            return None
        directory = self._logdir / run
        inside = directory.resolve().is_relative_to(self._logdir.resolve())
        return directory if inside and directory.is_dir() else None

    def _tail_token(self, run: str) -> Hashable:
        directory = self._directory(run)
        if directory is None:
            return ()
        return tuple(tail_token(path) for path in sorted(directory.iterdir()) if is_tail(path.name))


def _ranks_of(run: str, names: Iterable[str]) -> list[str]:
    """Those of `names` that are further processes of `run`."""
    mine = {PurePosixPath(run)}
    # A path is dear to make, and most runs are no rank of anything.
    return sorted({name for name in names if "rank" in name and is_rank(PurePosixPath(name), mine)})


def _by_kind(tags: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Tags of batches and of ids, each by session and shard."""
    parsed = sorted((parts[1], parts[0], parts[2], tag) for tag in tags if (parts := parse_tag(tag)))
    return [p[3] for p in parsed if p[0] == "b"], [p[3] for p in parsed if p[0] == "i"]


def _successor(tag: str) -> str:
    head, _, shard = tag.rpartition("/")
    return f"{head}/{int(shard) + 1}"


def _stored(tag: str, datum: Any) -> StoredChunk:
    session, kind, _ = parse_tag(tag) or ("", "b", 0)
    value = datum.numpy.item() if datum.numpy.size == 1 else b""
    return StoredChunk(session, kind, datum.step, value if isinstance(value, bytes) else b"")


def _ends(chunks: Iterable[Chunk]) -> dict[str, int]:
    """The batch after the last one of each session."""
    out: dict[str, int] = {}
    for chunk in chunks:
        out[chunk.session] = max(out.get(chunk.session, 0), chunk.end)
    return out


def _attached(tail: Tail, chunks: Sequence[Chunk]) -> Tail:
    """The tail without batches that do not follow on those of `chunks`: what lies between is not loaded yet, not lost."""
    end = _ends(chunks).get(tail.session, 0)
    kept = []
    for chunk in tail.chunks:
        if chunk.first_batch > end:
            break
        kept.append(chunk)
        end = max(end, chunk.end)
    return Tail(tail.session, tail.start, tuple(kept), tail.header)
