"""Show how a run stands: `python -m raytune_ocr.tune status RUN [--watch]`.

Only the journal and the lock are read, so it works from another terminal, and from another machine
that can read the folder.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from raytune_ocr.cli import answer
from raytune_ocr.config.metrics import known_mode, score_of
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.progress import clock
from raytune_ocr.results.journal import STATE_FILE, Journal
from raytune_ocr.results.replay import Replay, TrialState
from raytune_ocr.results.steering.orders import PAUSE_TRIAL, RESUME, STOP_TRIAL, Order, orders_of
from raytune_ocr.results.steering.run_lock import holder
from raytune_ocr.text import printable
from raytune_ocr.tune.execution.terminal.live_table import differing, flat, short

SECONDS = 2.0  # between two looks of --watch, at least
SHARE = 10.0  # times as long as a look takes
WIDTH = 100  # where the output is no terminal


@dataclass
class Status:
    """How a run stands.

    Attributes:
        holder: the process that runs it, in words; "" if none does.
        elapsed: seconds since it began, to now or to its last entry.
        trials: by name.
        paused: the order that paused a trial, by name.
    """

    folder: Path
    holder: str
    elapsed: float
    trials: dict[str, TrialState]
    paused: dict[str, Order] = field(default_factory=dict)


def read_status(folder: Path) -> Status:
    """Return how the run in a folder stands.

    Raises:
        ConfigurationError: the folder holds no run.
    """
    journal = Journal(folder)
    if not journal.exists():
        raise ConfigurationError(f"{folder}: holds no run (no {STATE_FILE})")
    replay = journal.read()
    paused: dict[str, Order] = {}
    for order in orders_of(replay.decisions):
        if order.action == PAUSE_TRIAL and order.trial:
            paused[order.trial] = order
        elif order.action == RESUME:
            paused.pop(order.trial or "", None)
    who = holder(folder)
    end = time.time() if who else journal.path.stat().st_mtime
    return Status(folder, who, max(0.0, end - _begun(replay, end)), _trials(replay), paused)


def _trials(replay: Replay) -> dict[str, TrialState]:
    """Return the trials of a run, without those that an order stopped before their first epoch."""
    stopped = {o.trial for o in orders_of(replay.decisions) if o.action == STOP_TRIAL}
    return {
        name: trial
        for name, trial in replay.trials.items()
        if trial.is_finished or trial.epochs or name not in stopped
    }


def _begun(replay: Replay, end: float) -> float:
    """Return when the run began, in seconds since 1970."""
    with suppress(KeyError, TypeError, ValueError):
        return float(replay.facts["command"][0]["began"])
    with suppress(KeyError, ValueError, OverflowError):  # an older run: in its own time zone
        return time.mktime(time.strptime(str(replay.about["timestamp"]), "%Y%m%d_%H%M%S"))
    return end


def page(status: Status, width: int = WIDTH, height: int | None = None) -> str:
    """Return the status as lines of text that fit the terminal.

    Args:
        height: lines that there are room for; None: any number.
    """
    runs = f"held by {status.holder}" if status.holder else "no process runs it"
    left = time_left(status)
    times = f"elapsed {clock(status.elapsed)}" + (f", about {clock(left)} left" if left else "")
    lines = [f"{status.folder}: {runs}; {times}", *best_line(status.trials)]
    waits = waiting(status)
    room = None if height is None else height - len(lines) - len(waits) - 2
    lines += [*_table(status, width, room), *waits]
    return "\n".join(printable(line) for line in lines)


def best_line(trials: Mapping[str, TrialState]) -> list[str]:
    """Return the best value so far, and its trial."""
    best = {name: value for name, t in trials.items() if (value := best_of(t)) is not None}
    if not best:
        return ["best so far: no epoch has ended"]
    metric, mode = _monitor(trials[next(iter(best))])
    name = max(best, key=lambda each: score_of(best[each], mode))
    return [f"best so far: {name} with {metric} {best[name]:.4f}"]


def best_of(trial: TrialState) -> float | None:
    """Return the best value of the metric that a trial follows; None before there is one."""
    metric, mode = _monitor(trial)
    values = (row.get(metric) for row in trial.epochs)
    known = [v for v in values if isinstance(v, (int, float)) and not math.isnan(v)]
    return max(known, key=lambda value: score_of(value, mode), default=None)


def _monitor(trial: TrialState) -> tuple[str, str]:
    metric = str(trial.config.get("early_stopping_monitor", ""))
    return metric, str(trial.config.get("early_stopping_mode") or known_mode(metric))


def _table(status: Status, width: int, room: int | None) -> list[str]:
    """Return a line for each trial; columns of settings that do not fit are left out.

    Trials that do not fit are counted; those that run come first, and those that wait last.
    """
    trials = {name: t for name, t in status.trials.items() if not t.confirms}
    more = 0
    if room is not None and len(trials) > room:
        order = {"running": 0, "paused": 1, "failed": 2, "completed": 3}
        shown = sorted(trials, key=lambda name: order.get(trials[name].status, 4))[: max(1, room)]
        more = len(trials) - len(shown)
        trials = {name: trial for name, trial in trials.items() if name in set(shown)}
    configs = [flat(trial.config) for trial in trials.values()]
    fixed = [["trial", "epoch", "best", "state"]]
    fixed += [[n, _epochs(t), _figure(best_of(t)), _state(n, status)] for n, t in trials.items()]
    columns = [list(column) for column in zip(*fixed, strict=True)]
    for name in differing(configs):
        column = [name, *(short(config.get(name, "-")) for config in configs)]
        if sum(max(map(len, c)) + 2 for c in [*columns, column]) <= width:
            columns.insert(-1, column)
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    lines = [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [*lines, f"and {more} more"] if more else lines


def _epochs(trial: TrialState) -> str:
    return f"{len(trial.epochs)}/{trial.config.get('num_epochs', '?')}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _state(name: str, status: Status) -> str:
    trial = status.trials[name]
    if trial.is_finished:
        return f"{trial.status} ({trial.stop_reason})" if trial.stop_reason else trial.status
    return "paused by an order" if name in status.paused else trial.status


def waiting(status: Status) -> list[str]:
    """Return what unfinished trials wait for, in words."""
    lines = []
    states = Counter(t.status for t in status.trials.values() if not t.is_finished)
    for name, order in status.paused.items():
        trial = status.trials.get(name)
        if trial is not None and not trial.is_finished:
            lines.append(f"{name} waits for an order to resume it ({order.who} paused it)")
    rungs = states["paused"] - len(lines)
    if status.holder and states["pending"]:
        number = states["running"]
        why = f"{number} running trials use the resources" if number else "no trial runs yet"
        lines.append(f"{states['pending']} queued: {why}")
    if status.holder and rungs > 0:
        lines.append(f"{rungs} paused by the scheduler until it has compared them")
    if not status.holder and states:
        lines.append(f"{states.total()} unfinished trials wait for a --resume")
    return lines


def time_left(status: Status) -> float:
    """Return the seconds that the unfinished trials need at the speed so far; 0: unknown."""
    rows = [row["seconds"] for trial in status.trials.values() for row in trial.epochs]
    open_ones = [t for t in status.trials.values() if not t.is_finished]
    running = sum(trial.status == "running" for trial in open_ones)
    if not (rows and running and status.holder):
        return 0.0
    epochs = sum(int(t.config.get("num_epochs", 0)) - len(t.epochs) for t in open_ones)
    return epochs * sum(rows) / len(rows) / running


def build_parser() -> argparse.ArgumentParser:
    """Build the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m raytune_ocr.tune status",
        description="Show the trials of a run, the best so far, and what waiting trials wait for. "
        "Only the folder is read, so it works from another terminal or machine.",
        epilog="example: python -m raytune_ocr.tune status training_output --watch",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the output folder of the run")
    parser.add_argument("--watch", action="store_true", help="show it again until the run ends")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: shown, 2: the folder holds no run."""
    arguments = build_parser().parse_args(argv)

    def command() -> int:
        while True:
            begun = time.monotonic()
            status = read_status(arguments.run)
            took = time.monotonic() - begun
            if arguments.watch and sys.stdout.isatty():
                print("\x1b[H\x1b[J", end="")
            size = shutil.get_terminal_size((WIDTH, 24))
            redrawn = arguments.watch and sys.stdout.isatty()
            print(page(status, size.columns, size.lines if redrawn else None), flush=True)
            if not (arguments.watch and status.holder):
                return 0
            time.sleep(max(SECONDS, SHARE * took))  # a long journal takes seconds to read

    return answer(command)
