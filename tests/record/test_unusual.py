import math

import numpy as np

from tb_losslens.record.unusual import Unusual


def test_a_noisy_falling_loss_is_seldom_unusual_and_a_spike_always():
    random = np.random.default_rng(0)
    unusual = Unusual()
    losses = 2 * np.exp(-np.arange(5000) / 1500) + 0.1 * random.standard_normal(5000)
    losses[3000] += 3
    found = [i for i, loss in enumerate(losses.tolist()) if unusual.add(loss)]
    assert 3000 in found
    assert len(found) < 0.01 * len(losses)


def test_what_is_not_finite_is_unusual_from_the_first_batch_on():
    assert Unusual().add(math.nan)
    assert Unusual().add(-math.inf)


def test_after_a_jump_the_new_level_becomes_usual():
    random = np.random.default_rng(1)
    unusual = Unusual()
    losses = np.r_[np.full(500, 1.0), np.full(500, 3.0)] + 0.05 * random.standard_normal(1000)
    found = [unusual.add(loss) for loss in losses.tolist()]
    assert found[500]
    assert not any(found[800:])
