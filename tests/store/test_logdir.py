"""Recordings are found and read as TensorBoard would name them, whatever is broken."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from tb_losslens.errors import LogdirError
from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.codec import Chunk, encode_chunk
from tb_losslens.events.metadata import batch_tag
from tb_losslens.record.disk.chunks import chunk_event
from tb_losslens.record.disk.event_file import EventFile, frame
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import events_in, load_runs, unrecorded
from tb_losslens.store.records import Damage, scan_records


def write(logdir, steps, *, close=True, flush_every=None):
    """One session with a row for each step, its loss the step over ten and its ids the step twice."""
    file = EventFile(logdir)
    session = Session(logdir, file)
    for step in steps:
        session.put({"loss": step / 10, "step": step}, ids=[step, step])
        if flush_every and step % flush_every == flush_every - 1:
            session.flush()
    if close:
        session.close()
    else:
        session.flush()
    file.close()
    return Path(file.path)


def test_named_as_tensorboard_names_them(tmp_path):
    for name in ("", "a", "a/b", "c d/ü'\"<x>"):
        write(tmp_path / name, range(3))
    runs = load_runs(tmp_path)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    assert set(runs) == set(multiplexer.Runs()) == {".", "a", "a/b", "c d/ü'\"<x>"}
    assert all(run.name == name and len(run) == 3 for name, run in runs.items())
    assert load_runs(str(tmp_path / "a")).keys() == {".", "b"}


def test_links_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path / "elsewhere" / "run", range(3))
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "linked").symlink_to(tmp_path / "elsewhere")
    for name in ("x", "y"):
        (tmp_path / "logs" / "deep" / name).symlink_to(tmp_path / "logs")
    assert set(load_runs(tmp_path / "logs")) == {"linked/run"}


def test_what_is_not_ours_is_no_run(tmp_path):
    EventFile(tmp_path / "plain").close()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("losslens")
    assert load_runs(tmp_path) == {}


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("x")])
def test_no_directory(tmp_path, make):
    make(tmp_path / "none")
    with pytest.raises(LogdirError, match=r"none (does not exist|is not a directory)"):
        load_runs(tmp_path / "none")


def test_ranks_belong_to_the_run_above(tmp_path):
    for name in ("ddp", "ddp/rank1", "ddp/rank12", "other/rank3", "ddp/rankings"):
        write(tmp_path / name, range(2))
    assert set(load_runs(tmp_path)) == {"ddp", "other/rank3", "ddp/rankings"}


def test_two_sessions_in_one_directory(tmp_path):
    write(tmp_path, range(10))
    write(tmp_path, range(6, 15))
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == list(range(15))
    assert run.superseded == 4
    assert run.ragged["sample_ids"].values.reshape(-1, 2)[:, 0].tolist() == list(range(15))
    assert [session["closed"] for session in run.sessions] == [True, True]


def test_standard_events_in_the_same_file_do_no_harm(tmp_path):
    torch_tb = pytest.importorskip("torch.utils.tensorboard")
    writer = torch_tb.SummaryWriter(str(tmp_path))
    path = write(tmp_path, range(5))
    writer.add_scalar("losslens/boundary_jump", 0.5, 1)
    writer.add_text("losslens/summary", "losslens")
    writer.close()
    assert load_runs(tmp_path)["."].step.tolist() == list(range(5))
    assert path.exists()


def flip(path, needle, offset=0):
    """Changes one bit in the middle of the file, `offset` bytes after `needle`."""
    data = bytearray(path.read_bytes())
    data[data.index(needle) + offset] ^= 1
    path.write_bytes(data)


def test_a_damaged_chunk_costs_its_batches_only(tmp_path):
    path = write(tmp_path, range(50), flush_every=10)
    data = path.read_bytes()
    second = data.index(b"/b/", data.index(b"/b/") + 10)
    damaged = bytearray(data)
    damaged[second + 120] ^= 1
    path.write_bytes(damaged)
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == [*range(10), *range(20, 50)]
    assert run.problems == (
        "1 chunk is damaged and left out; the rest is shown.",
        f"10 of 50 batches could not be read in session {run.sessions[0]['id']}: 10 to 19.",
    )
    assert run.ragged["sample_ids"][10].tolist() == [20, 20]


def test_damaged_ids_cost_the_ids_only(tmp_path):
    path = write(tmp_path, range(30), flush_every=10)
    data = path.read_bytes()
    at = data.index(b"/i/") + 120
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == list(range(30))
    assert [len(run.ragged["sample_ids"][i]) for i in (0, 9, 10, 29)] == [0, 0, 2, 2]


def rewritten(path, change):
    """The file with each stored chunk changed by `change(tag, bytes)`, all checksums of records right."""
    data = path.read_bytes()
    out = b""
    for event in events_in(data):
        for value in event.summary.value:
            if value.tag.startswith("losslens/"):
                value.tensor.string_val[0] = change(value.tag, value.tensor.string_val[0])
        out += frame(event.SerializeToString())
    path.write_bytes(out)


def test_ids_that_are_damaged_inside_or_newer_are_counted(tmp_path):
    path = write(tmp_path / "cut", range(30), flush_every=10)
    rewritten(path, lambda tag, chunk: chunk[:-7] if "/i/" in tag else chunk)
    path = write(tmp_path / "newer", range(30), flush_every=10)

    def newer(tag, data):
        chunk = pb.Chunk.FromString(data)
        chunk.format = 99 if "/i/" in tag and chunk.first_batch == 10 else chunk.format
        return chunk.SerializeToString()

    rewritten(path, newer)
    runs = load_runs(tmp_path)
    assert [len(run) for run in runs.values()] == [30, 30]
    assert runs["cut"].problems == ("The sample ids of 30 batches could not be read.",)
    assert runs["newer"].problems == (
        "1 chunk was written by a newer LossLens (format 99) and left out: update tb_losslens to read them.",
        "The sample ids of 10 batches could not be read.",
    )


def test_a_file_that_is_cut_off_says_how_much_is_left_out(tmp_path):
    path = write(tmp_path, range(50), flush_every=10)
    data = path.read_bytes()
    records = list(scan_records(data, Damage()))
    for begin, end in (records[len(records) // 2], records[-1]):
        for left in (1, 12, end + 4 - (begin - 12) - 1):  # bytes of the record that are still there
            path.write_bytes(data[: begin - 12 + left])
            problem = load_runs(tmp_path)["."].problems[-1]
            assert (
                problem == f"An event file ends within a record: {left} {'byte' if left == 1 else 'bytes'} of it are left out."
            )


def test_what_was_being_written_when_its_process_was_killed_stands_in_the_tail(tmp_path):
    """A kill may come within a write: the record is torn, and the rows of it are not lost."""
    path = write(tmp_path, range(50), close=False, flush_every=10)
    (tail,) = tmp_path.glob("*.tail")
    path.write_bytes(path.read_bytes() + frame(b"x" * 100)[:60])
    run = load_runs(tmp_path)["."]
    assert (len(run), run.problems) == (50, ())
    tail.unlink()
    assert "60 bytes of it are left out" in load_runs(tmp_path)["."].problems[-1]


@pytest.mark.parametrize("size", [0, 10, 100])
def test_a_file_without_a_record_is_a_run_with_a_problem(tmp_path, size):
    name = write(tmp_path / "run", range(3)).name  # of 100 bytes the first record is whole, as in any event file
    (tmp_path / "run" / name).write_bytes((tmp_path / "run" / name).read_bytes()[:size])
    run = load_runs(tmp_path)["run"]
    assert run.problems == (f"{name} holds no complete event ({size} bytes): nothing of it can be read.",)
    assert run.unread
    assert unrecorded(tmp_path, ["run"]) == ()


def test_an_empty_file_beside_a_whole_one_is_no_problem(tmp_path):
    write(tmp_path, range(3))
    (tmp_path / "events.out.tfevents.1.killed.at.once").touch()
    assert load_runs(tmp_path)["."].problems == ()


def test_a_damaged_record_head_costs_its_chunk_only(tmp_path):
    path = write(tmp_path, range(50), flush_every=10)
    data = path.read_bytes()
    first = 12 + int.from_bytes(data[:8], "little") + 4
    damaged = bytearray(data)
    damaged[first + 2] ^= 1
    path.write_bytes(damaged)
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == list(range(10, 50))
    assert run.problems[0].startswith("1 chunk is damaged")


def test_every_cut_of_a_file_keeps_what_is_before_it(tmp_path):
    path = write(tmp_path, range(40), flush_every=10)
    data = path.read_bytes()
    seen = set()
    for end in range(len(data) - 1, 0, -97):
        path.write_bytes(data[:end])
        runs = load_runs(tmp_path)
        if "." in runs:
            run = runs["."]
            assert run.step.tolist() == list(range(len(run)))
            seen.add(len(run))
    assert seen >= {10, 20, 30, 40}


def test_a_newer_format_is_said(tmp_path):
    path = write(tmp_path, range(20), flush_every=10)
    newer = pb.Chunk.FromString(encode_chunk(Chunk("later", 0, 1, {"loss": np.zeros(1)})))
    newer.format = 7
    with path.open("ab") as file:
        file.write(frame(chunk_event(batch_tag("later", 0), 0, newer.SerializeToString())))
    run = load_runs(tmp_path)["."]
    assert len(run) == 20
    assert run.problems == (
        "1 chunk was written by a newer LossLens (format 7) and left out: update tb_losslens to read them.",
    )


def test_a_run_of_newer_chunks_alone_is_listed_with_its_problem(tmp_path):
    file = EventFile(tmp_path)
    newer = pb.Chunk(format=7, session="later", body=b"x")
    file.add_bytes(chunk_event(batch_tag("later", 0), 0, newer.SerializeToString()))
    file.close()
    run = load_runs(tmp_path)["."]
    assert len(run) == 0
    assert "newer LossLens" in run.problems[0]


def test_unknown_columns_are_kept(tmp_path):
    file = EventFile(tmp_path)
    columns = {"loss": np.zeros(3), "from.the.future": np.array([1.5, 2.5, 3.5])}
    file.add_bytes(chunk_event(batch_tag("s", 0), 0, encode_chunk(Chunk("s", 0, 3, columns))))
    file.close()
    assert load_runs(tmp_path)["."].columns["from.the.future"].tolist() == [1.5, 2.5, 3.5]


@pytest.mark.parametrize("content", [b"garbage" * 100, b"LLTAIL\r\n" + bytes(5000), b""])
def test_a_damaged_tail_costs_the_tail_only(tmp_path, content):
    write(tmp_path, range(5))
    (tmp_path / "losslens.x.tail").write_bytes(content)
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == list(range(5))
    assert len(run.problems) == (1 if content else 0)


def test_an_unreadable_event_file_is_said(tmp_path):
    write(tmp_path, range(5))
    (tmp_path / "events.out.tfevents.1.gone").symlink_to(tmp_path / "nowhere")
    assert load_runs(tmp_path)["."].problems == ()
    (tmp_path / "events.out.tfevents.2.broken").symlink_to("/proc/self/mem")  # a file that opens, and fails to be read
    run = load_runs(tmp_path)["."]
    assert len(run) == 5
    assert run.problems == ("events.out.tfevents.2.broken could not be read: Input/output error.",)


@pytest.mark.parametrize("changes", [{"count": 9}, {"first_batch": 70}, {"session": "another"}])
def test_a_chunk_that_is_not_what_its_event_says(tmp_path, changes):
    """The checksum of a chunk covers its body; of the rest the tag, the step and the columns tell."""
    path = write(tmp_path, range(20), flush_every=10)
    chunk = pb.Chunk.FromString(encode_chunk(Chunk("other", 0, 5, {"step": np.arange(5)})))
    for name, value in changes.items():
        setattr(chunk, name, value)
    with path.open("ab") as file:
        file.write(frame(chunk_event(batch_tag("other", 0), 0, chunk.SerializeToString())))
    run = load_runs(tmp_path)["."]
    assert run.step.tolist() == list(range(20))
    assert run.problems == ("1 chunk is damaged and left out; the rest is shown.",)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_never_raises(tmp_path, seed):
    path = write(tmp_path, range(60), flush_every=7)
    data = path.read_bytes()
    rng = np.random.default_rng(seed)
    for _ in range(60):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), 5):
            damaged[position] = int(rng.integers(256))
        path.write_bytes(damaged)
        run = load_runs(tmp_path).get(".")
        assert run is None or set(run.step.tolist()) <= set(range(60))


def test_runs_without_a_recording(tmp_path):
    write(tmp_path / "mine", range(3))
    for name in ("mine/Loss_train", "plain", "group/rank1", "group"):
        EventFile(tmp_path / name).close()
    (tmp_path / "nothing").mkdir()
    assert unrecorded(tmp_path, load_runs(tmp_path)) == ("group", "plain")
    with pytest.raises(LogdirError, match="does not exist"):
        unrecorded(tmp_path / "none", ())
