"""Loops that take turns step by step, so that a noisy machine disturbs all of them alike.

Every contestant is a whole training loop in a process of its own, with an allocator and threads of
its own, which asks a `DataLoader` for its batches. The data set behind that loader lets it go on
only when it is its turn: a turn is what the loop does between two batches, whatever that is. One
process runs at a time.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

Loop = Callable[[Any], None]
"""Takes a `DataLoader`; made of functions of modules and `functools.partial`, so that it travels to
its process."""
BOOTSTRAPS = 1000


@dataclass(frozen=True)
class Comparison:
    """One loop over another.

    Attributes:
        wall: median of the turns' ratios by the clock.
        interval: of that median, 95 %, by bootstrap.
        cpu: ratio of all turns' processor time.
    """

    wall: float
    interval: tuple[float, float]
    cpu: float


def missing_of(packages: Sequence[str]) -> str:
    """Those of `packages` that are not installed, or ""."""
    return ", ".join(name for name in packages if importlib.util.find_spec(name) is None)


class Stage(Dataset[Any]):
    """Batches that are handed out turn by turn: asking for one ends a turn and waits for the next.

    Args:
        hand: tells what each turn took, as (seconds, seconds of processor time of all threads).
    """

    def __init__(self, batches: Sequence[Any], hand: Any) -> None:
        self.batches = batches
        self._hand = hand
        self._started: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        self._hand.send(self.turn())
        self._hand.recv()
        self._started = time.perf_counter(), time.process_time()
        return self.batches[index]

    def turn(self) -> tuple[float, float] | None:
        """What this turn has taken by now; None before the first one."""
        if self._started is None:
            return None
        return time.perf_counter() - self._started[0], time.process_time() - self._started[1]


def _play(loop: Loop, batches: Sequence[Any], threads: int, hand: Any) -> None:
    """What the process of a contestant does."""
    torch.set_num_threads(threads)
    stage = Stage(batches, hand)
    try:
        loop(DataLoader(stage, batch_size=None))
        hand.send(("over", stage.turn()))
    except BaseException as error:
        hand.send(error)


class Player:
    """A contestant's process, as seen from here; `seconds` and `cpu` hold what each turn took."""

    def __init__(self, name: str, loop: Loop, batches: Sequence[Any]) -> None:
        context = multiprocessing.get_context("spawn")  # a forked one may hang in OpenMP or CUDA
        self.name = name
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.over = False
        self._hand, theirs = context.Pipe()
        self._process = context.Process(
            target=_play, args=(loop, batches, torch.get_num_threads(), theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def turn(self) -> None:
        """Let the loop go on until it asks for its next batch, or ends."""
        self._hand.send(None)
        self.wait()

    def wait(self) -> None:
        """Take in that it asks for a batch, or has ended; raises what it has raised."""
        try:
            answer = self._hand.recv()
        except EOFError:
            raise RuntimeError(f"the process of {self.name!r} died") from None
        if isinstance(answer, BaseException):
            raise answer
        if answer and answer[0] == "over":
            self.over, answer = True, answer[1]
        if answer:
            self.seconds.append(answer[0])
            self.cpu.append(answer[1])

    def end(self) -> None:
        """End the process, whatever it does."""
        if not self.over:
            self._process.kill()
        self._process.join()


def take_turns(
    loops: Mapping[str, Loop], batches: Mapping[str, Sequence[Any]]
) -> dict[str, Player]:
    """Run all loops side by side, a turn each in a new order every round.

    Args:
        loops: called with a `DataLoader` of their `batches`, over which they may pass more than
            once; all take the same number of steps, each on as many threads as PyTorch has here.
    """
    players = {name: Player(name, loop, batches[name]) for name, loop in loops.items()}
    try:
        for player in players.values():
            player.wait()
        order = list(loops)
        shuffle = random.Random(1).shuffle
        while not all(player.over for player in players.values()):
            shuffle(order)
            for name in order:
                if not players[name].over:
                    players[name].turn()
    finally:
        for player in players.values():
            player.end()
    return players


def compare(players: Mapping[str, Player], first: str, second: str, skip: int) -> Comparison:
    """What `first` takes of the time of `second`.

    Args:
        skip: turns at the start that do not count; one at the end does not either.
    """
    one, other = players[first], players[second]
    turns = slice(skip, min(len(one.seconds), len(other.seconds)) - 1)
    ratios = [a / b for a, b in zip(one.seconds[turns], other.seconds[turns], strict=True)]
    draw = random.Random(1)
    medians = sorted(
        statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(BOOTSTRAPS)
    )
    return Comparison(
        statistics.median(ratios),
        (medians[int(0.025 * BOOTSTRAPS)], medians[int(0.975 * BOOTSTRAPS)]),
        sum(one.cpu[turns]) / sum(other.cpu[turns]),
    )
