"""A session with its event file, as the tests of what goes to disk use it."""

from pathlib import Path

from tb_losslens.events.codec import decode_chunk
from tb_losslens.events.metadata import parse_tag
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.session import Session
from tb_losslens.store.logdir import events_in, load_runs


class Recording:
    """A session with its event file, and what went wrong."""

    def __init__(self, logdir):
        self.logdir = logdir
        self.warnings = []
        self.file = EventFile(logdir, warn=self.warnings.append)
        self.session = Session(logdir, self.file, self.warnings.append)

    def run(self):
        """As it is in the files at this moment."""
        return load_runs(self.logdir)["."]

    def close(self):
        self.session.close()
        self.file.close()

    def written(self):
        """Batches in the event file, without the tail."""
        self.file.flush()
        return sum(chunk.count for chunk in chunks_in(Path(self.file.path).read_bytes()))

    def tags(self):
        """Tag and step of each chunk in the event file."""
        events = events_in(Path(self.file.path).read_bytes())
        return [(parse_tag(v.tag), e.step) for e in events for v in e.summary.value if parse_tag(v.tag)]


def chunks_in(data):
    values = [value for event in events_in(data) for value in event.summary.value]
    return [decode_chunk(v.tensor.string_val[0]) for v in values if parse_tag(v.tag) and parse_tag(v.tag)[1] == "b"]
