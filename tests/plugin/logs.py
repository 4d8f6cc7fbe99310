"""Writes log directories through the real recorder, a whole training in a fraction of a second."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2

from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.metadata import PLUGIN_NAME
from tb_losslens.record.disk.event_file import EventFile, frame
from tb_losslens.record.disk.session import Session

EPOCHS, LENGTH = 30, 782  # 60,000 samples in batches of 77, thirty times: 23,460 steps
STEPS = EPOCHS * LENGTH

NAMES = [
    "exp 1",
    "nested/deeper/run",
    'it\'s "quoted"',
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "ünï ☃ 😀",
    "100% & more?run=x#y+z;q",
    "back\\slash",
]


def losses(epochs: int = EPOCHS, length: int = LENGTH, *, seed: int = 0, tooth: float = 0.4) -> np.ndarray:
    """A falling loss with a sawtooth: it rises within each epoch and drops at its end."""
    rng = np.random.default_rng(seed)
    n = epochs * length
    trend = 1.0 + np.exp(-np.arange(n) / (n / 3))
    return (trend + tooth * np.tile(np.linspace(0, 1, length), epochs) + rng.normal(0, 0.08, n)).astype(np.float32)


@contextlib.contextmanager
def session(directory: Path) -> Iterator[tuple[Session, EventFile]]:
    file = EventFile(directory)
    recorder = Session(directory, file)
    yield recorder, file
    recorder.close()
    file.close()


def scalar(file: EventFile, tag: str, value: float, step: int, time: float) -> None:
    value_proto = summary_pb2.Summary.Value(tag=tag, simple_value=value)
    file.add_event(event_pb2.Event(wall_time=time, step=step, summary=summary_pb2.Summary(value=[value_proto])))


def write_run(
    directory: Path, loss: np.ndarray, length: int, *, scalars: bool = False, ids: bool = False, notes: tuple[str, ...] = ()
) -> None:
    """A closed training with epoch events, a validation and a stock scalar an epoch."""
    start = 1.7e9
    with session(directory) as (recorder, file):
        for step, value in enumerate(loss.tolist()):
            now = start + 0.01 * step
            epoch, index = divmod(step, length)
            if index == 0:
                recorder.record("epoch_begin", step=step, fields={"epoch": epoch}, when=now)
            row = {"step": step, "time": now, "loss": value, "epoch": epoch, "index": index, "batch_size": 77, "lr": 0.1}
            recorder.put(row, ids=np.arange(8) + index * 8 if ids else None)
            if scalars:
                scalar(file, "Loss/train", value, step, now)
            if index == length - 1:
                recorder.record("epoch_end", step=step, fields={"epoch": epoch, "batches": length, "complete": True}, when=now)
                recorder.record("validation_end", step=step, fields={"epoch": epoch, "value": value + 0.1}, when=now)
                scalar(file, "Loss/val", value + 0.1, epoch, now)
        for note in notes:
            recorder.record("note", step=len(loss), text=note)


def write_bare(directory: Path, loss: np.ndarray, length: int) -> None:
    """A training of which nothing but the loss and the epochs is known."""
    with session(directory) as (recorder, _file):
        for step, value in enumerate(loss.tolist()):
            epoch, index = divmod(step, length)
            if index == 0:
                recorder.record("epoch_begin", step=step, fields={"epoch": epoch}, when=1.7e9 + step)
            recorder.put({"step": step, "time": 1.7e9 + step, "loss": value, "epoch": epoch, "index": index})


def write_no_epochs(directory: Path, loss: np.ndarray) -> None:
    """A training whose loop says nothing of epochs."""
    with session(directory) as (recorder, _file):
        for step, value in enumerate(loss.tolist()):
            recorder.put({"step": step, "time": 1.7e9 + step, "loss": value})


def write_sweep(root: Path, batch_sizes: tuple[int, ...], *, length: int = 60) -> list[str]:
    """Trainings that differ in the batch size alone, with less noise the larger it is; their names."""
    for size in batch_sizes:
        with session(root / f"sweep {size}") as (recorder, _file):
            recorder.record("facts", step=0, fields={"config": {"batch_size": size, "lr": 0.1}}, when=1.7e9)
            noise = np.random.default_rng(size).normal(0, 2 / np.sqrt(size), 6 * length)
            for step, value in enumerate((2.0 + np.exp(-np.arange(6 * length) / 99) + noise).tolist()):
                epoch, index = divmod(step, length)
                if index == 0:
                    recorder.record("epoch_begin", step=step, fields={"epoch": epoch}, when=1.7e9 + step)
                recorder.put({"step": step, "time": 1.7e9 + step, "loss": value, "epoch": epoch, "index": index})
    return [f"sweep {size}" for size in batch_sizes]


def write_one_side(directory: Path, *, length: int = 60) -> None:
    """Four epochs; the gradient norm was read from the third one on only, where the lens of the second boundary begins."""
    with session(directory) as (recorder, _file):
        for step, value in enumerate(losses(4, length).tolist()):
            epoch, index = divmod(step, length)
            if index == 0:
                recorder.record("epoch_begin", step=step, fields={"epoch": epoch}, when=1.7e9 + step)
            row = {"step": step, "time": 1.7e9 + step, "loss": value, "epoch": epoch, "index": index}
            recorder.put({**row, "grad_norm": 1.0 + value} if epoch >= 2 else row)


def write_plain(directory: Path, steps: int = 50) -> None:
    file = EventFile(directory)
    for step in range(steps):
        scalar(file, "loss", 1.0 / (1 + step), step, 1.7e9 + step)
    file.close()


def write_gap(directory: Path, *, length: int = 100) -> None:
    """Four epochs of which the second, a chunk of its own, was lost on the disk."""
    with session(directory) as (recorder, file):
        for epoch in range(4):
            recorder.record("epoch_begin", step=epoch * length, fields={"epoch": epoch}, when=1.7e9 + epoch * length)
            for index, value in enumerate(losses(1, length, seed=epoch).tolist()):
                step = epoch * length + index
                recorder.put(
                    {"step": step, "time": 1.7e9 + step, "loss": value, "epoch": epoch, "index": index, "lr": 0.1 / (1 + step)}
                )
            recorder.flush()
            file.flush()

    def lost(_number: int, chunk: pb.Chunk) -> pb.Chunk | None:
        return None if chunk.first_batch == length else chunk

    rewrite_chunks(directory, lost)


def rewrite_chunks(directory: Path, change: Callable[[int, pb.Chunk], pb.Chunk | bytes | None]) -> None:
    """Writes the event file of a run again with each chunk changed; records stay valid TFRecords.

    `change(number, chunk)` gives a chunk, raw bytes, or None to drop it. Chunks of sample ids are left alone.
    """
    (path,) = directory.glob("events.*")
    out = []
    number = 0
    for data in records(path.read_bytes()):
        event = event_pb2.Event.FromString(data)
        for value in event.summary.value:
            if value.tag.startswith("losslens/") and "/b/" in value.tag:
                changed = change(number, pb.Chunk.FromString(value.tensor.string_val[0]))
                number += 1
                if changed is None:
                    event.summary.ClearField("value")
                else:
                    raw = changed if isinstance(changed, bytes) else changed.SerializeToString()
                    value.tensor.string_val[0] = raw
                assert value.metadata.plugin_data.plugin_name in (PLUGIN_NAME, "")
        out.append(frame(event.SerializeToString()))
    path.write_bytes(b"".join(out))


def records(data: bytes) -> Iterator[bytes]:
    """The payloads of a file of TFRecords."""
    position = 0
    while position < len(data):
        (size,) = struct.unpack_from("<Q", data, position)
        yield data[position + 12 : position + 12 + size]
        position += 16 + size


def flip(chunk: pb.Chunk) -> pb.Chunk:
    """The chunk with one bit of its body changed, as a bad disk would."""
    body = bytearray(chunk.body)
    body[len(body) // 2] ^= 0x10
    chunk.body = bytes(body)
    return chunk
