import argparse
import logging
import sys
from types import SimpleNamespace

import pytest
from tensorboard import default, program
from tensorboard.plugins import base_plugin

from tb_losslens.plugin.loader import LossLensLoader


def flags(**hints):
    return argparse.Namespace(samples_per_plugin=dict(hints))


def test_every_chunk_is_asked_for_and_no_other_plugin_is_touched():
    given = flags(scalars=500, images=3)
    LossLensLoader().fix_flags(given)
    assert given.samples_per_plugin == {"scalars": 500, "images": 3, "losslens": 0}


def test_a_users_own_value_is_respected():
    given = flags(losslens=7)
    LossLensLoader().fix_flags(given)
    assert given.samples_per_plugin == {"losslens": 7}


@pytest.mark.parametrize("odd", [argparse.Namespace(), argparse.Namespace(samples_per_plugin=None), None])
def test_flags_of_another_tensorboard_stop_nothing(odd):
    LossLensLoader().fix_flags(odd)


def test_tensorboard_finds_the_entry_point_and_its_flags_parse():
    plugins = default.get_dynamic_plugins()
    assert LossLensLoader in plugins
    board = program.TensorBoard(plugins=[*default.get_static_plugins(), LossLensLoader])
    board.configure(argv=["tensorboard", "--logdir", "x", "--samples_per_plugin", "images=5"])
    assert board.flags.samples_per_plugin == {"images": 5, "losslens": 0}


def test_a_broken_dependency_costs_the_tab_and_nothing_else(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "tb_losslens.plugin.plugin", None)  # what a failing import looks like
    with caplog.at_level(logging.WARNING):
        assert LossLensLoader().load(base_plugin.TBContext(data_provider=object())) is None
    assert "tab is missing" in caplog.text


def test_without_a_data_provider_there_is_no_tab():
    assert LossLensLoader().load(SimpleNamespace(data_provider=None)) is None
