import pytest

from tests.record.training import Recorded


@pytest.fixture
def recorded(tmp_path):
    made = []

    def make(**kwargs):
        made.append(Recorded(tmp_path / f"logs{len(made)}", **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.writer.close()
