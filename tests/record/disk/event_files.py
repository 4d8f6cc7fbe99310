"""Events for an event file, and what TensorBoard reads of it."""

import time

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2


def scalar(tag, value, step):
    summary = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])
    return event_pb2.Event(wall_time=time.time(), step=step, summary=summary)


def steps_in(path):
    return [event.step for event in LegacyEventFileLoader(str(path)).Load() if event.HasField("summary")]
