import pytest

from tests.record.processes import Server
from tests.record.training import Recorded


@pytest.fixture(scope="session")
def server():
    """One for all files: it takes seconds to import torch."""
    one = Server()
    yield one
    one.close()


@pytest.fixture
def recorded(tmp_path):
    made = []

    def make(**kwargs):
        made.append(Recorded(tmp_path / f"logs{len(made)}", **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.writer.close()
