import time

import pytest

pytest.importorskip("torch")

from benchmarks.turns import compare, take_turns


def loop_of(seconds: float, epochs: int = 2):
    def run(loader) -> None:
        for _ in range(epochs):
            for _batch in loader:
                time.sleep(seconds)

    return run


def test_every_loop_takes_every_step_of_its_own_and_only_in_its_turn():
    seen = []

    def noting(name):
        def run(loader) -> None:
            for batch in loader:
                seen.append((name, batch))

        return run

    batches = list(range(4))
    stages = take_turns({name: noting(name) for name in "ab"}, {"a": batches, "b": batches})
    assert {name: len(stage.seconds) for name, stage in stages.items()} == {"a": 4, "b": 4}
    for turn in range(4):
        assert sorted(seen[2 * turn : 2 * turn + 2]) == [("a", turn), ("b", turn)]


def test_a_loop_that_takes_twice_as_long_is_found_to():
    batches = {"slow": range(10), "fast": range(10)}
    stages = take_turns({"slow": loop_of(0.02), "fast": loop_of(0.01)}, batches)
    found = compare(stages, "slow", "fast", skip=2)
    assert 1.4 < found.interval[0] <= found.wall <= found.interval[1] < 2.6


def test_an_error_in_a_loop_is_raised_where_it_was_started():
    def broken(loader) -> None:
        next(iter(loader))
        raise ArithmeticError("lost")

    with pytest.raises(ArithmeticError, match="lost"):
        take_turns({"broken": broken}, {"broken": [1]})
