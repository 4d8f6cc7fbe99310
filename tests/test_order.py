"""The files that are said to take longest are there."""

from tests.conftest import DEAREST, HERE


def test_no_file_is_named_that_is_gone():
    assert [name for name in DEAREST if not (HERE / name).is_file()] == []
    assert len(set(DEAREST)) == len(DEAREST)
