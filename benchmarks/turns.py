"""Loops that take turns step by step, so that a noisy machine disturbs all of them alike.

Every contestant is a whole training loop in a thread of its own, which asks a `DataLoader` for
its batches. The data set behind that loader lets a thread go on only when it is its turn: a turn
is what the loop does between two batches, whatever that is. One thread runs at a time.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

Loop = Callable[[Any], None]
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


class Stage(Dataset[Any]):
    """Batches that are handed out turn by turn; `seconds` and `cpu` hold what each turn took."""

    def __init__(self, batches: Sequence[Any]) -> None:
        self.batches = batches
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.over = False
        self.error: BaseException | None = None
        self._go = threading.Semaphore(0)
        self._done = threading.Semaphore(0)
        self._started: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        self._end_turn()
        self._go.acquire()
        self._started = time.perf_counter(), time.thread_time()
        return self.batches[index]

    def turn(self) -> None:
        """Let the loop go on until it asks for its next batch, or ends."""
        self._go.release()
        self._done.acquire()
        self._raise()

    def play(self, loop: Loop) -> threading.Thread:
        """Start `loop` on these batches; it stops before its first one."""

        def run() -> None:
            torch.set_num_threads(torch.get_num_threads())  # OpenMP counts for each thread
            try:
                loop(DataLoader(self, batch_size=None))
            except BaseException as error:
                self.error = error
            self.over = True
            self._end_turn()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._done.acquire()  # it has asked for a batch
        self._raise()
        return thread

    def _raise(self) -> None:
        if self.error is not None:
            raise self.error

    def _end_turn(self) -> None:
        if self._started is not None:
            self.seconds.append(time.perf_counter() - self._started[0])
            self.cpu.append(time.thread_time() - self._started[1])
            self._started = None
        self._done.release()


def take_turns(loops: Mapping[str, Loop], batches: Mapping[str, Sequence[Any]]) -> dict[str, Stage]:
    """Run all loops side by side, a turn each in a new order every round.

    Args:
        loops: called with a `DataLoader` of their `batches`, over which they may pass more than
            once; all take the same number of steps.
    """
    stages = {name: Stage(batches[name]) for name in loops}
    threads = [stages[name].play(loop) for name, loop in loops.items()]
    order = list(loops)
    shuffle = random.Random(1).shuffle
    while not all(stage.over for stage in stages.values()):
        shuffle(order)
        for name in order:
            if not stages[name].over:
                stages[name].turn()
    for thread in threads:
        thread.join()
    return stages


def compare(stages: Mapping[str, Stage], first: str, second: str, skip: int) -> Comparison:
    """What `first` takes of the time of `second`.

    Args:
        skip: turns at the start that do not count; one at the end does not either.
    """
    one, other = stages[first], stages[second]
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
