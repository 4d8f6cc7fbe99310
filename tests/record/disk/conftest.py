import pytest

from tb_losslens.record.disk.event_file import EventFile
from tests.record.disk.recording import Recording


@pytest.fixture
def recording(tmp_path):
    recording = Recording(tmp_path)
    yield recording
    recording.close()
    assert recording.warnings == []
    assert not list(tmp_path.glob("*.tail"))


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def file(tmp_path, warnings):
    file = EventFile(tmp_path / "run", warn=warnings.append)
    yield file
    file.close()
    assert not warnings
