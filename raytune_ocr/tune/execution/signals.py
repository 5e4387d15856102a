"""Handle Ctrl-C and SIGTERM: the first ends the run in order, the second at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

GRACE = 0.7  # seconds for trials to end by themselves
DEADLINE = 4.0  # seconds from the signal to the end of the process
STOPPING = (
    "stopping: finished epochs are saved, and the trials end; a second signal ends the run at once"
)


class Interrupted(KeyboardInterrupt):
    """A signal other than Ctrl-C that ends a run."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def interruption(number: int) -> KeyboardInterrupt:
    """Return the exception of a signal.

    A script that does not catch Ctrl-C exits with 130 only for a plain KeyboardInterrupt.
    """
    return KeyboardInterrupt() if number == signal.SIGINT else Interrupted(number)


class Interruptions:
    """Handles SIGINT and SIGTERM inside its `with` block, in the main thread.

    Inside `trials_run`, Ray stops through its SIGUSR1 handler. It would wait up to 15 s for trials
    that are in an epoch, so they are killed after `GRACE` seconds: their states are on the disk.
    If the process still runs after `DEADLINE` seconds, it exits. Outside `trials_run`,
    KeyboardInterrupt is raised; inside `deferred`, at its end.

    Args:
        kill_trials: kills the trials' processes; called from another thread.
        at_deadline: called from another thread before the process exits at the deadline.
    """

    def __init__(self, kill_trials: Callable[[], None], at_deadline: Callable[[], None]) -> None:
        self.kill_trials = kill_trials
        self.at_deadline = at_deadline
        self.received = 0
        self.ending = False
        self._trials_run = False
        self._deferring = False
        self._lock = threading.Lock()  # trials are not killed while Ray shuts down
        self._timers: list[threading.Timer] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruptions:
        self.install()
        return self

    def install(self) -> None:
        """Install the signal handlers, also over those that Ray has installed since."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.signal(number, self._handle)
            self._before.setdefault(number, before)

    def __exit__(self, *exception: Any) -> None:
        for timer in self._timers:
            timer.cancel()
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Delay signals to the end of the `with` block: Ray's start survives no exception.

        Raises:
            KeyboardInterrupt: at the end, if a signal came; a second one ends the process.
        """
        self._deferring = True
        try:
            yield
        except Exception:  # the signal says how the process ends
            if not self.received:
                raise
        finally:
            self._deferring = False
        if self.received:
            raise interruption(self.received)

    @contextmanager
    def trials_run(self) -> Iterator[None]:
        """Mark that Ray runs trials inside the `with` block."""
        self._trials_run = True
        try:
            yield
        finally:
            with self._lock:
                self._trials_run = False
                if threading.current_thread() is threading.main_thread():
                    signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # Ray has stopped listening

    def end_run(self) -> None:
        """Stop Ray; raise KeyboardInterrupt if it runs no trials."""
        self.ending = True
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:
            raise interruption(self.received or signal.SIGINT)
        self._after(GRACE, self._hurry)
        if self.received:
            self._after(DEADLINE, self._give_up)
        os.kill(os.getpid(), signal.SIGUSR1)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            print("ended at once; finished epochs are saved", file=sys.__stderr__, flush=True)
            os._exit(128 + number)
        self.received = number
        if self._deferring:
            print("stopping as soon as Ray has started", file=sys.__stderr__, flush=True)
        else:
            if self._trials_run:
                print(STOPPING, file=sys.__stderr__, flush=True)
            self.end_run()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _hurry(self) -> None:
        with self._lock:
            if self._trials_run:
                self.kill_trials()

    def _give_up(self) -> None:
        try:
            self.at_deadline()
        finally:
            os._exit(128 + self.received)
