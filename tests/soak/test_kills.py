"""200 random moments of kill -9 in trainings that log 2,000 batches a second."""

import time

import numpy as np
import pytest

from tests.record.kills import CHUNK_SECONDS, HOOKS, LOG, SHORT, Counted, check_hooks, check_logged, check_short, late_in_file
from tests.record.processes import Server


@pytest.mark.parametrize(
    ("body", "check", "moments"),
    [(LOG, check_logged, 200), (HOOKS, check_hooks, 60), (SHORT, check_short, 60)],
    ids=["logged", "hooks", "short"],
)
def test_random_moments(body, check, moments, tmp_path):
    random, server, batches = np.random.default_rng(), Server(), 0
    for number in range(moments):
        training = Counted(server, tmp_path / str(number), body)
        if number % 4:  # else it may be killed before anything is there
            training.wait_for(1)
        time.sleep(random.uniform(0, 1.5))
        when, done = training.kill()
        run = training.run()
        check(run, done)
        batches += done
        if done:
            assert len(late_in_file(run, when - CHUNK_SECONDS, training.through_tensorboard())) == 0
    server.close()
    print(f"{moments} kills, {batches} batches, none lost")
