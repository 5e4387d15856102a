"""How good are the searches? Schedulers and searchers on recorded and drawn learning curves.

    python -m benchmarks.search --tables taskset.npz --methods asha halving optuna --seeds 10
    python -m benchmarks.search --kinds all --workers 1 4 16 --json search.json

Each method decides in virtual time which trials of a table train for how long. Its regret after so
many epochs in all is that of the best loss seen by then: 0 is the best of the table, 1 the median
after one epoch. Methods are schedulers (`asha`, `halving`), searchers under ASHA (`optuna`), both
(`halving+optuna`), with another grace period than 1 (`asha@5`), `random`, or other tools.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.earlier import MODES, with_relatives
from benchmarks.support.kinds import KINDS, drawn
from benchmarks.support.peers import PEERS
from benchmarks.support.replay import Conditions, Outcome, find_method
from benchmarks.support.tables import Table, read_tables
from raytune_ocr.errors import RaytuneOCRError, unknown_name
from raytune_ocr.plots import save_figure

BUDGETS = (100, 200, 500, 1000)
GOOD = 0.02
"""A regret that counts as found."""
USUAL_GOAL = 0.127
"""The regret that `epochs_to` counts to where `asha` is not replayed beside."""
LOWEST = 0.003
"""The lowest regret that a plot shows."""
TASKS = 4
"""Drawn tasks of each kind."""
METHODS = ("random", "asha", "halving", "optuna")


class Replayed(Protocol):
    """A method, of the product or of another tool."""

    def run(self, table: Table, seed: int, conditions: Conditions) -> Outcome:
        """Replay it on a table."""


@dataclass(frozen=True)
class Runs:
    """All replays of a method under the same conditions.

    Attributes:
        regret: after each epoch's worth of time [runs, budget + 1].
        kinds: of the table of each run.
        cpu_seconds, decisions: of each run.
    """

    regret: NDArray[np.float64]
    kinds: NDArray[np.str_]
    cpu_seconds: NDArray[np.float64]
    decisions: NDArray[np.int64]

    def of_kind(self, kind: str) -> Runs:
        """Those on tables of one kind."""
        chosen = self.kinds == kind
        return Runs(
            self.regret[chosen],
            self.kinds[chosen],
            self.cpu_seconds[chosen],
            self.decisions[chosen],
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay, print a table, write the JSON."""
    options = _parser().parse_args(arguments)
    try:
        methods = dict(_methods(options.methods))
        tables = list(_tables(options))
    except RaytuneOCRError as error:
        print(f"benchmarks.search: {error}", file=sys.stderr)
        return 2
    replayed: dict[str, dict[str, Runs]] = {}
    for workers in options.workers:
        conditions = Conditions(
            options.budget,
            workers,
            options.start_cost,
            options.unequal,
            options.earlier,
        )
        replayed[f"workers={workers}"] = {
            name: replay(method, tables, conditions) for name, method in methods.items()
        }
    print("\n\n".join(shown(label, runs) for label, runs in replayed.items()))
    if options.plot:
        runs = next(iter(replayed.values()))
        save_figure(options.plot, lambda figure: draw(figure, runs), size=(7, 4))
    if options.json:
        options.json.write_text(json.dumps(document(replayed), indent=2) + "\n", encoding="utf-8")
    return 0


def replay(method: Replayed, tables: Sequence[tuple[Table, int]], conditions: Conditions) -> Runs:
    """Replay a method on each table with its seed."""
    outcomes = [method.run(table, seed, conditions) for table, seed in tables]
    return Runs(
        np.array([outcome.regret for outcome in outcomes]),
        np.array([table.kind for table, _ in tables]),
        np.array([outcome.cpu_seconds for outcome in outcomes]),
        np.array([outcome.decisions for outcome in outcomes]),
    )


def figures(runs: Runs, goal: float) -> dict[str, Any]:
    """What the JSON has of a method.

    Args:
        goal: the regret that `epochs_to` counts to; None there: not within the budget.
    """
    regret = runs.regret
    mean = regret.mean(0)
    error = regret.std(0, ddof=min(1, len(regret) - 1)) / np.sqrt(len(regret))
    reached = np.flatnonzero(mean <= goal)
    budgets = [budget for budget in BUDGETS if budget < regret.shape[1]]
    return {
        "regret": {str(budget): round(float(mean[budget]), 4) for budget in budgets},
        "se": {str(budget): round(float(error[budget]), 4) for budget in budgets},
        "share": round(float((regret[:, -1] <= GOOD).mean()), 3),
        "epochs_to": int(reached[0]) if len(reached) else None,
        "cpu_ms": round(1e3 * float(runs.cpu_seconds.sum() / runs.decisions.sum()), 3),
    }


def all_figures(runs: Mapping[str, Runs], kind: str | None = None) -> dict[str, Any]:
    """The figures of each method, on all tables or on those of one kind."""
    chosen = {name: one if kind is None else one.of_kind(kind) for name, one in runs.items()}
    goal = float(chosen["asha"].regret.mean(0)[-1]) if "asha" in chosen else USUAL_GOAL
    return {name: figures(one, goal) for name, one in chosen.items()}


def draw(figure: Any, runs: Mapping[str, Runs]) -> None:
    """Draw the mean regret over epochs with a band of a standard error, a line for each method."""
    axes = figure.add_subplot(
        xlabel="epochs trained by all trials together",
        ylabel="mean regret (0: the best of the table)",
        yscale="log",
    )
    for name, one in runs.items():
        mean = one.regret.mean(0)[1:]
        error = one.regret.std(0)[1:] / np.sqrt(len(one.regret))
        epochs = np.arange(1, len(mean) + 1)
        (line,) = axes.plot(epochs, mean, label=name)
        low, high = np.maximum(mean - error, LOWEST), np.maximum(mean + error, LOWEST)
        axes.fill_between(epochs, low, high, color=line.get_color(), alpha=0.2)
    axes.set_ylim(LOWEST, 1.0)
    axes.grid(alpha=0.3)
    axes.legend()


def kinds_of(runs: Mapping[str, Runs]) -> list[str]:
    """The kinds of tables, in order."""
    return list(dict.fromkeys(kind for one in runs.values() for kind in one.kinds.tolist()))


def document(replayed: Mapping[str, Mapping[str, Runs]]) -> dict[str, Any]:
    """The JSON: the first number of workers under `methods`, all of them under `conditions`."""
    conditions = {
        label: {
            "methods": all_figures(runs),
            "kinds": {kind: {"methods": all_figures(runs, kind)} for kind in kinds_of(runs)},
        }
        for label, runs in replayed.items()
    }
    return {"methods": next(iter(conditions.values()))["methods"], "conditions": conditions}


def shown(label: str, runs: Mapping[str, Runs]) -> str:
    """Tables of text: one for each kind, and one of all."""
    kinds: list[str | None] = list(kinds_of(runs))
    kinds += [None] if len(kinds) > 1 else []
    return "\n\n".join(_text(f"{label}, {kind or 'all'}", runs, kind) for kind in kinds)


def _text(title: str, runs: Mapping[str, Runs], kind: str | None) -> str:
    found = all_figures(runs, kind)
    budgets = list(next(iter(found.values()))["regret"])
    kinds = next(iter(runs.values())).kinds
    number = len(kinds) if kind is None else int((kinds == kind).sum())
    width = max(map(len, [*runs, "method"]))
    head = "  ".join(f"{budget:>13s}" for budget in budgets)
    lines = [
        f"{title}: mean regret after so many epochs (+- standard error), {number} runs",
        f"{'method':{width}s}  {head}  {f'<= {GOOD}':>7s}  epochs to  CPU ms",
    ]
    for name, one in found.items():
        cells = "  ".join(f"{one['regret'][b]:.3f} +- {one['se'][b]:.3f}" for b in budgets)
        rest = f"{one['share']:7.2f}  {one['epochs_to'] or '-':>9}  {one['cpu_ms']:6.2f}"
        lines.append(f"{name:{width}s}  {cells}  {rest}")
    return "\n".join(lines)


def _methods(names: Sequence[str]) -> Iterator[tuple[str, Replayed]]:
    """The methods that are installed; a line for each that is not."""
    for name in names:
        if name not in PEERS:
            yield name, find_method(name)
        elif PEERS[name].is_installed:
            yield name, PEERS[name]
        else:
            print(f"{name}: skipped, {PEERS[name].package} is not installed", file=sys.stderr)


def _tables(options: argparse.Namespace) -> Iterator[tuple[Table, int]]:
    """Each table, with the seed to search it with: other ones for each task."""
    kinds = KINDS if "all" in options.kinds else options.kinds
    groups = [[table for path in options.tables for table in read_tables(path)]]
    groups += [[drawn(kind, number) for number in range(TASKS)] for kind in kinds]
    for group in groups:
        tables = with_relatives(group) if options.earlier else group
        for number, table in enumerate(tables):
            yield from ((table, 1000 * number + seed) for seed in range(options.seeds))


def _kind(name: str) -> str:
    if name not in ("all", *KINDS):
        raise argparse.ArgumentTypeError(unknown_name("kind", name, ["all", *KINDS]))
    return name


def _count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.search",
        description=__doc__,
        epilog=f"Other tools: {', '.join(PEERS)}. Kinds of curves: {', '.join(KINDS)}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tables", nargs="+", type=Path, default=[], metavar="FILE.npz")
    parser.add_argument(
        "--kinds", nargs="+", type=_kind, default=[], metavar="KIND", help="drawn tables, or all"
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME")
    parser.add_argument("--seeds", type=_count, default=10, metavar="N", help="of each task")
    parser.add_argument("--workers", nargs="+", type=_count, default=[1], metavar="N")
    parser.add_argument("--budget", type=_count, default=max(BUDGETS), metavar="EPOCHS")
    parser.add_argument(
        "--start-cost", type=float, default=0.0, metavar="EPOCHS", help="of each start"
    )
    parser.add_argument("--unequal", action="store_true", help="epochs of unequal cost")
    parser.add_argument(
        "--earlier",
        choices=MODES,
        default="",
        help="earlier studies that the product's methods know: other tasks of the same table, "
        "those with the curves of other configs, or with negated scores",
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG of the first --workers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
