import functools
import os
import time
from pathlib import Path

import pytest

from benchmarks.support.turns import compare, take_turns


def sleeps(loader, seconds: float, epochs: int = 2) -> None:
    for _ in range(epochs):
        for _batch in loader:
            time.sleep(seconds)


def notes(loader, name: str, file: str) -> None:
    for batch in loader:
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(f"{name} {batch}\n")


def breaks(loader) -> None:
    next(iter(loader))
    raise ArithmeticError("lost")


def dies(loader) -> None:
    next(iter(loader))
    os._exit(3)


def test_every_loop_takes_every_step_of_its_own_and_only_in_its_turn(tmp_path):
    file = str(tmp_path / "seen")
    batches = list(range(4))
    loops = {name: functools.partial(notes, name=name, file=file) for name in "ab"}
    players = take_turns(loops, {"a": batches, "b": batches})
    assert {name: len(player.seconds) for name, player in players.items()} == {"a": 4, "b": 4}
    seen = (tmp_path / "seen").read_text(encoding="utf-8").splitlines()
    for turn in range(4):
        assert sorted(seen[2 * turn : 2 * turn + 2]) == [f"a {turn}", f"b {turn}"]


def test_a_loop_that_takes_twice_as_long_is_found_to():
    batches = {"slow": range(10), "fast": range(10)}
    loops = {
        "slow": functools.partial(sleeps, seconds=0.02),
        "fast": functools.partial(sleeps, seconds=0.01),
    }
    found = compare(take_turns(loops, batches), "slow", "fast", skip=2)
    assert 1.4 < found.interval[0] <= found.wall <= found.interval[1] < 2.6


def test_an_error_in_a_loop_is_raised_where_it_was_started():
    with pytest.raises(ArithmeticError, match="lost"):
        take_turns({"broken": breaks}, {"broken": [1]})


def test_a_loop_whose_process_dies_is_named():
    with pytest.raises(RuntimeError, match="the process of 'gone' died"):
        take_turns({"gone": dies}, {"gone": [1, 2]})
