import pytest

from tb_losslens.record import native
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


@pytest.fixture
def half():
    """Which half of the short way the writers use that are made from here on: the compiled one or that of Python."""

    def choose(compiled):
        if compiled and not native.available:
            pytest.skip("the package was built without a compiler for C")
        native.use(compiled=compiled)

    yield choose
    native.use(compiled=True)
