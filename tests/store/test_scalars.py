import numpy as np
import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.util import tensor_util

from tb_losslens.errors import LogdirError
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.store.scalars import read_scalars, scalar_tags


def test_torchs_scalars(tmp_path):
    torch_tb = pytest.importorskip("torch.utils.tensorboard")
    writer = torch_tb.SummaryWriter(str(tmp_path))
    for step in range(1500):
        writer.add_scalar("Loss/train", step / 4, 2 * step)
    writer.add_scalar("Loss/val", float("nan"), 5)
    writer.add_text("note", "not a number")
    writer.add_histogram("weights", np.arange(10), 1)
    writer.close()
    assert scalar_tags(tmp_path) == ("Loss/train", "Loss/val")
    steps, values = read_scalars(tmp_path)["Loss/train"]
    np.testing.assert_array_equal(steps, 2 * np.arange(1500))
    np.testing.assert_array_equal(values, np.arange(1500) / 4)
    assert np.isnan(read_scalars(tmp_path)["Loss/val"][1]).all()


def test_tensorflow_2s_scalars(tmp_path):
    file = EventFile(tmp_path)
    for step, value in enumerate([np.float32(1.5), np.float64(2.5)]):
        summary = summary_pb2.Summary(
            value=[
                summary_pb2.Summary.Value(
                    tag="loss",
                    tensor=tensor_util.make_tensor_proto(value),
                    metadata=scalar_metadata.create_summary_metadata("", ""),
                )
            ]
        )
        file.add_event(event_pb2.Event(step=step, summary=summary))
    content = tensor_util.make_tensor_proto(np.float32(3.5))
    content.tensor_content = np.float32(3.5).tobytes()
    del content.float_val[:]
    value = summary_pb2.Summary.Value(tag="loss", tensor=content, metadata=scalar_metadata.create_summary_metadata("", ""))
    file.add_event(event_pb2.Event(step=2, summary=summary_pb2.Summary(value=[value])))
    file.close()
    assert read_scalars(tmp_path)["loss"][1].tolist() == [1.5, 2.5, 3.5]


def test_no_directory(tmp_path):
    with pytest.raises(LogdirError, match="none is not a directory"):
        read_scalars(tmp_path / "none")
    assert read_scalars(tmp_path) == {}
