"""A user's package brings a scheduler and a searcher: a class each, and an entry point."""

import sys

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import PAUSE, STOP, Decision
from raytune_ocr.tune.chosen_options import chosen_options
from raytune_ocr.tune.cli.parser import build_parser
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.execution.simulator import SimulatedTrial, Simulator
from raytune_ocr.tune.options import read_tuning
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy
from tests.fixtures.simulated import plan_of, setup

SCHEDULER = '''
from raytune_ocr.tune.schedulers.base import STOP, Decision, Job, Scheduler, best_score, epochs_of


class BestFirst(Scheduler):
    """Trains the best trial an epoch at a time; stops one that is far behind it."""

    name = "best_first"
    pauses = True

    def next(self, pending, trials, new):
        trial = new.suggest() or max(pending.values(), key=best_score, default=None)
        return Job(trial) if trial else None

    def next_milestone(self, trial):
        return epochs_of(trial) or 1

    def report(self, trial, trials):
        behind = max(map(best_score, trials.values())) - best_score(trial)
        if behind > 0.5 and epochs_of(trial) < trial.max_epochs:
            return Decision(self.name, trial.name, epochs_of(trial), STOP)
'''
SEARCHER = '''
from raytune_ocr.tune.search.base import Searcher


class Bisection(Searcher):
    """Halves the distance to the best learning rate so far."""

    name = "bisection"

    def suggest(self, number, trials):
        best = max(trials, key=lambda trial: max(trial.curve.values(), default=0), default=None)
        rate = (best.sampled["learning_rate"] + 0.1) / 2 if best else 0.1 / 2
        return self.experiment.point({"learning_rate": rate}, number)
'''
POINTS = """
[raytune_ocr.schedulers]
best_first = own_scheduler:BestFirst
broken = no_such_module:Broken
[raytune_ocr.searchers]
bisection = own_searcher:Bisection
"""
SEARCH = {
    "num_samples": 4,
    "training": {"num_epochs": 3, "learning_rate": {"uniform": [0.0001, 0.1]}},
    "scheduler": {"min_lr": 0.0},
}
PRESETS = {name: {"training": {"num_epochs": 3}} for name in "abc"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with entry points, as pip leaves it."""
    folder = tmp_path / "site"
    info = folder / "own_package-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "own_scheduler.py").write_text(SCHEDULER)
    (folder / "own_searcher.py").write_text(SEARCHER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in ("own_scheduler", "own_searcher"):
        sys.modules.pop(name, None)


def trial_of(experiment, point):
    """The higher its learning rate, the better."""
    rate = point.config.learning_rate
    return SimulatedTrial(
        point.name,
        [rate * epoch for epoch in (1, 2, 3)],
        search=experiment.name if experiment.is_search else "",
        sampled=dict(point.values),
    )


def preset_of(experiment, point):
    goodness = {"a": 0.2, "b": 0.9, "c": 0.5}[point.name]
    return SimulatedTrial(point.name, [goodness] * 3)


def test_a_scheduler_and_a_searcher_of_ones_own_are_named_beside_the_packages(installed):
    assert "best_first" in SCHEDULERS.names() and "bisection" in SEARCHERS.names()
    options = chosen_options({"scheduler": "best_first", "search": "bisection"})
    assert (options.scheduler, options.search) == ("best_first", "bisection")
    assert read_tuning({"scheduler": "best_first"}, "here") == ({"scheduler": "best_first"}, [])
    words = ["--config", "space.yaml", "--scheduler", "best_first", "--search", "bisection"]
    parsed = build_parser().parse_args(words)
    assert (parsed.scheduler, parsed.search) == ("best_first", "bisection")
    with pytest.raises(ConfigurationError, match=r"must be one of .*got 'worst_first'"):
        chosen_options({"scheduler": "worst_first"})


def test_one_that_cannot_be_imported_is_named(installed):
    with pytest.raises(ConfigurationError, match=r"'broken' .*no_such_module"):
        chosen_options({"scheduler": "broken"})


def test_its_rules_hold_as_those_of_the_packages_schedulers_do(installed):
    with pytest.raises(ConfigurationError, match="must be best_first, as at the start"):
        chosen_options({"scheduler": "asha"}, {}, {"scheduler": "best_first"})
    with pytest.raises(ConfigurationError, match="halving must be used with --search random"):
        chosen_options({"scheduler": "halving", "search": "bisection"})


def test_an_own_scheduler_runs_in_the_simulator(installed):
    plan = plan_of(PRESETS, make=preset_of)
    simulator = Simulator(plan, SCHEDULERS["best_first"](setup()))
    trained = [(report.trial, report.action) for report in simulator.run()]
    assert trained[:2] == [("a", PAUSE), ("a", PAUSE)]  # nothing is known of the others
    ends = {trial.name: trial.status for trial in simulator.study.trials.values()}
    assert ends == {"a": "completed", "b": "completed", "c": "completed"}
    worse = plan_of({n: PRESETS[n] for n in "ba"}, make=preset_of)
    simulator = Simulator(worse, SCHEDULERS["best_first"](setup()))
    assert simulator.run()[-1].action == STOP
    assert simulator.study.trials["a"].status == "stopped"


def test_an_own_searcher_runs_in_the_simulator(installed):
    plan = plan_of({"found": SEARCH}, "bisection", make=trial_of)
    simulator = Simulator(plan, SCHEDULERS["none"](setup()))
    simulator.run()
    rates = [trial.sampled["learning_rate"] for trial in simulator.study.trials.values()]
    assert rates == pytest.approx([0.05, 0.075, 0.0875, 0.09375])
    for cut in range(len(simulator.journal)):
        plan = plan_of({"found": SEARCH}, "bisection", make=trial_of)
        resumed = Simulator(plan, SCHEDULERS["none"](setup()), journal=simulator.journal[:cut])
        resumed.run()
        assert resumed.study.trials.keys() == simulator.study.trials.keys()


def test_a_run_keeps_the_decisions_of_an_own_scheduler_and_continues_by_them(installed, tmp_path):
    space = read_space({"experiments": {n: PRESETS[n] for n in "ba"}})

    def begin(resuming):
        options = chosen_options({"scheduler": "best_first"})
        run = Run(tmp_path, options, RunCopy(None, tmp_path), "t", tmp_path / "r.json")
        run.start(space, KnownPoints(), resuming)
        run.save_state()
        return run

    def report(run, record, epoch, value):
        record.status = "running"
        row = {"epoch": epoch, "train_loss": 1.0, "seconds": 1.0, "val_char_accuracy": value}
        return run.report(record, {**row, "stop_reason": "max_epochs" if epoch == 3 else ""})

    run = begin(resuming=False)
    for epoch in (1, 2, 3):
        report(run, run.next_trial(), epoch, 0.9)
    assert report(run, run.next_trial(), 1, 0.2) == STOP
    run.journal.close()
    again = begin(resuming=True)
    assert again.journal.decisions == [Decision("best_first", "a", 1, STOP)]
    assert again.next_trial() is None and again.records["a"].stop_reason == "scheduler"
