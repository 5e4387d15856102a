import random

import numpy as np
import torch

from raytune_ocr.training import seed_everything
from raytune_ocr.training.checkpoints.rng import generators_kept, rng_state, set_rng_state
from raytune_ocr.training.checkpoints.state_files import read_state, write_state

CPU = torch.device("cpu")


def draw():
    return random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.rand(()))


def test_a_seed_decides_every_generator():
    seed_everything(7)
    first = draw()
    seed_everything(7)
    assert draw() == first
    seed_everything(8)
    assert not set(draw()) & set(first)


def test_states_survive_a_file_and_draw_the_same(tmp_path):
    seed_everything(7)
    draw()  # half of a pair of normal numbers is left in the generators
    write_state(tmp_path / "state.pt", {"rng": rng_state(CPU)})
    expected = [draw() for _ in range(3)]
    seed_everything(1)
    set_rng_state(read_state(tmp_path / "state.pt")["rng"], CPU)
    assert [draw() for _ in range(3)] == expected


def test_a_seed_beyond_numpys_range_is_taken():
    seed_everything(2**32 + 5)
    first = float(np.random.normal())
    np.random.seed(5)
    assert float(np.random.normal()) == first


def test_what_happens_inside_leaves_the_generators_as_they_were():
    seed_everything(7)
    wanted = draw()
    seed_everything(7)
    drawn = []
    for _ in range(2):
        with generators_kept():
            drawn.append(draw())
            seed_everything(99)
    assert draw() == wanted and drawn[0] == drawn[1]
