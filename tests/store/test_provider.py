"""Runs read through both of TensorBoard's real data providers, with its default number of samples a tag."""

import time

import numpy as np
import pytest
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

from tb_losslens.errors import LossLensError
from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.metadata import batch_tag
from tb_losslens.record.disk.chunks import chunk_event
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import load_runs
from tb_losslens.store.provider import ProviderSource


class Python:
    """`--load_fast=false`."""

    def __init__(self, logdir):
        self._multiplexer = plugin_event_multiplexer.EventMultiplexer().AddRunsFromDirectory(str(logdir))
        self._logdir = logdir
        self.provider = data_provider.MultiplexerDataProvider(self._multiplexer, str(logdir))

    def reload(self):
        self._multiplexer.AddRunsFromDirectory(str(self._logdir))
        self._multiplexer.Reload()

    def stop(self):
        pass


class Fast:
    """`--load_fast=true`: the data server in a process of its own, without a value for our plugin's samples."""

    def __init__(self, logdir):
        self._ingester = server_ingester.SubprocessServerDataIngester(
            server_binary=server_ingester.get_server_binary(),
            logdir=str(logdir),
            reload_interval=1,
            channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
            samples_per_plugin=None,
        )
        self._ingester.start()
        self.provider = self._ingester.data_provider
        self._began = False

    def reload(self):
        time.sleep(2.2 if self._began else 0)
        self._began = True
        before = None
        while before is None or self._newest() != before:  # it answers while it is still loading
            before = self._newest()
            time.sleep(0.3)

    def _newest(self):
        listing = self.provider.list_tensors(context.RequestContext(), experiment_id="", plugin_name="losslens")
        return {(run, tag, s.max_step, s.max_wall_time) for run, tags in listing.items() for tag, s in tags.items()}

    def stop(self):
        self._ingester._stdin_handle.close()  # which ends it


class Writer:
    """A session whose batch i has the loss i / 10, step i and ids (i, i + 1)."""

    def __init__(self, logdir):
        self.file = EventFile(logdir)
        self.session = Session(logdir, self.file)

    def put(self, count):
        for _ in range(count):
            i = self.session.batches
            self.session.put({"loss": i / 10, "step": i, "epoch": i // 100}, ids=[i, i + 1], classes=[[1, i]])

    def close(self):
        self.session.close()
        self.file.close()


@pytest.fixture(params=[Python, Fast])
def serve(request):
    started = []

    def start(logdir):
        server = request.param(logdir)
        started.append(server)
        server.reload()
        return server

    yield start
    for server in started:
        server.stop()


def source_of(server, logdir=None):
    return ProviderSource(server.provider, context.RequestContext(), "", logdir)


def check(run, count):
    i = np.arange(count)
    np.testing.assert_array_equal(run.columns["loss"], i / 10)
    np.testing.assert_array_equal(run.step, i)
    ids = run.ragged["sample_ids"]
    np.testing.assert_array_equal(ids.values.reshape(-1, 2), np.stack([i, i + 1], 1))
    assert len(run.ragged["classes"]) == count
    assert run.problems == ()


def test_every_batch_of_a_long_run_survives_the_default_sampling(tmp_path, serve):
    writer = Writer(tmp_path / "a" / "b")
    writer.put(30_000)  # 118 chunks, where stock TensorBoard keeps 10 or 100 tensors of a tag
    for _ in range(150):
        writer.put(1)
        writer.session.flush()
    writer.close()
    source = source_of(serve(tmp_path))
    assert list(source.tokens()) == ["a/b"]
    check(source.read("a/b"), 30_150)
    run = source.read("a/b")
    check(run, 30_150)
    assert run.name == "a/b"
    assert run.sessions[0]["closed"]
    direct = load_runs(tmp_path)["a/b"]
    assert direct.facts == run.facts
    assert direct.events == run.events
    assert {k: v.dtype for k, v in direct.columns.items()} == {k: v.dtype for k, v in run.columns.items()}


def test_a_growing_run(tmp_path, serve):
    writer = Writer(tmp_path)
    writer.put(1000)
    writer.session.flush()
    server = serve(tmp_path)
    source, local = source_of(server), source_of(server, tmp_path)
    before = source.tokens()
    assert source.tokens() == before
    check(source.read("."), 1000)
    writer.put(5)
    # without the directory the newest are not there yet; with it the tail is read
    assert 1000 <= len(source.read(".")) < 1005
    check(local.read("."), 1005)
    assert local.read(".").live
    first = local.tokens()
    writer.put(1)
    assert local.tokens() != first
    check(local.read("."), 1006)
    # chunks that TensorBoard has not loaded yet are not taken for lost, and read where the files are at hand
    writer.session.flush()
    writer.put(3)
    assert source.read(".").problems == ()
    check(local.read("."), 1009)
    server.reload()
    assert source.tokens() != before
    check(source.read("."), 1006)
    check(local.read("."), 1009)
    writer.put(4000)
    writer.close()
    check(local.read("."), 5009)
    server.reload()
    check(source.read("."), 5009)
    check(local.read("."), 5009)
    assert not local.read(".").live


def test_a_restart_in_the_same_directory(tmp_path, serve):
    first = Writer(tmp_path)
    first.put(500)
    first.close()
    second = Writer(tmp_path)
    second.session._next = 0
    for step in range(300, 700):
        second.session.put({"loss": -1.0, "step": step})
    second.close()
    run = source_of(serve(tmp_path)).read(".")
    assert run.step.tolist() == list(range(700))
    assert run.superseded == 200
    assert len(run.sessions) == 2


def test_a_damaged_and_a_newer_chunk(tmp_path, serve):
    writer = Writer(tmp_path)
    writer.put(600)
    writer.session.flush()
    writer.file.add_bytes(chunk_event(batch_tag("broken", 0), 0, b"\xff\xffnot a chunk"))
    newer = pb.Chunk(format=9, session="later", body=b"x").SerializeToString()
    writer.file.add_bytes(chunk_event(batch_tag("later", 0), 0, newer))
    writer.close()
    source = source_of(serve(tmp_path))
    for _ in range(2):
        run = source.read(".")
        assert len(run) == 600
        assert [problem.split(" ", 2)[:2] for problem in run.problems] == [["1", "chunk"], ["1", "chunk"]]


def test_runs_of_others_are_not_listed(tmp_path, serve):
    EventFile(tmp_path / "plain").close()
    for name in ("x", "x/rank1"):
        writer = Writer(tmp_path / name)
        writer.put(3)
        writer.close()
    source = source_of(serve(tmp_path))
    assert list(source.tokens()) == ["x"]
    with pytest.raises(LossLensError, match="no recorded run 'plain'"):
        source.read("plain")
    with pytest.raises(LossLensError, match="no recorded run"):
        source.read("../x")


def test_ids_are_read_only_when_asked_for(tmp_path, serve):
    writer = Writer(tmp_path)
    writer.put(600)
    writer.close()
    server = serve(tmp_path)
    asked = []

    class Counting:
        """The real provider, and which tags were read."""

        def __getattr__(self, name):
            return getattr(server.provider, name)

        def read_tensors(self, *args, **kwargs):
            asked.extend(kwargs["run_tag_filter"].tags)
            return server.provider.read_tensors(*args, **kwargs)

    source = ProviderSource(Counting(), context.RequestContext())
    run = source.read(".")
    assert "sample_ids" in run.ragged
    assert "per_sample" not in run.ragged
    assert len(run.ragged["classes"]) == 600
    assert {tag.split("/")[2] for tag in asked} == {"b"}
    assert run.ragged["sample_ids"][599].tolist() == [599, 600]
    assert {tag.split("/")[2] for tag in asked} == {"b", "i"}


def test_closed_shards_are_read_once(tmp_path, serve):
    writer = Writer(tmp_path)
    for _ in range(35):
        writer.put(1)
        writer.session.flush()
    server = serve(tmp_path)
    reads = []

    class Counting:
        def __getattr__(self, name):
            return getattr(server.provider, name)

        def read_tensors(self, *args, **kwargs):
            reads.append(sorted(kwargs["run_tag_filter"].tags))
            return server.provider.read_tensors(*args, **kwargs)

    source = ProviderSource(Counting(), context.RequestContext())
    check_columns = [len(source.read(".")) for _ in range(3)]
    assert check_columns == [35, 35, 35]
    assert [len(tags) for tags in reads] == [4, 1, 1]
    writer.close()


def test_a_shard_that_cannot_be_read_does_not_hide_the_others(tmp_path, serve):
    writer = Writer(tmp_path)
    for _ in range(35):
        writer.put(1)
        writer.session.flush()
    server = serve(tmp_path)

    class Refusing:
        def __getattr__(self, name):
            return getattr(server.provider, name)

        def read_tensors(self, *args, **kwargs):
            if any(tag.endswith("/b/1") for tag in kwargs["run_tag_filter"].tags):
                raise ValueError("a dtype that it does not know")
            return server.provider.read_tensors(*args, **kwargs)

    run = ProviderSource(Refusing(), context.RequestContext()).read(".")
    assert run.step.tolist() == [*range(10), *range(20, 35)]
    assert len(run.problems) == 2
    writer.close()
