"""What a study makes of a scheduler's decisions; its executor only writes down its calls."""

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, PAUSE, START, STOP, Decision
from raytune_ocr.tune.execution.simulator import SimulatedTrial
from raytune_ocr.tune.execution.study import Study
from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.schedulers.base import Job, Scheduler
from tests.fixtures.simulated import plan_of, setup

PRESETS = {name: {"training": {"num_epochs": 4}} for name in "abcd"}
SEARCH = {"training": {"num_epochs": 4, "learning_rate": {"loguniform": [1e-4, 1e-2]}}}


class Executor:
    """Writes down its calls, in order."""

    def __init__(self):
        self.log = []

    def keep(self, decisions, trial=None):
        words = [(d.trial, d.decision) for d in decisions]
        self.log.append(("keep", words, trial.name if trial else None))

    def clone(self, parent, decision, restored=None):
        shared = {e: s for e, s in parent.curve.items() if e <= decision.epoch}
        return SimulatedTrial(decision.trial, parent.recorded, curve=shared)

    def added(self, trial):
        self.log.append(("added", trial.name))

    def changed(self, trial):
        self.log.append(("changed", trial.name, trial.status))


def study_of(scheduler="none", experiments=PRESETS, search="random", **settings):
    plan = plan_of(experiments, search)
    kind = SCHEDULERS[scheduler] if isinstance(scheduler, str) else scheduler
    study = Study(plan, kind(setup(max_epochs=4, **settings)), Executor())
    study.add(plan.initial())
    return study


def report(study, trial, score):
    trial.curve[len(trial.curve) + 1] = score
    if len(trial.curve) == trial.max_epochs:
        trial.status = "completed"
    return study.report(trial)


def at_milestone(study, scores=(0.1, 0.2, 0.3, 0.4)):
    """Train all trials to the milestone at epoch 2."""
    for score in scores:
        trial = study.ask()
        actions = [report(study, trial, score) for _ in range(2)]
        assert actions == [CONTINUE, PAUSE]
    return study


def test_a_trial_is_given_out_once_until_it_paused_or_its_process_went_away():
    study = study_of()
    trials = [study.ask() for _ in PRESETS]
    assert [trial.name for trial in trials] == list("abcd") and study.ask() is None
    study.end(trials[2])  # lost, not finished
    assert study.ask() is trials[2] and study.ask() is None
    study.restart()
    assert [study.ask().name for _ in PRESETS] == list("abcd")


def test_a_report_is_kept_together_with_the_decision_on_it():
    study = study_of("asha")
    first, second = study.ask(), study.ask()
    for trial, score in ((first, 0.9), (second, 0.1)):
        assert report(study, trial, score) == CONTINUE
    assert report(study, first, 0.9) == CONTINUE and report(study, second, 0.1) == STOP
    assert second.status == "stopped"
    assert study.executor.log[-3:] == [
        ("keep", [], "b"),
        ("keep", [("a", CONTINUE)], "a"),
        ("keep", [("b", STOP)], "b"),
    ]


def test_a_trial_that_completes_on_a_rung_is_not_stopped():
    study = study_of("asha", grace_period=4)
    for trial, score in ((study.ask(), 0.9), (study.ask(), 0.1)):
        actions = [report(study, trial, score) for _ in range(4)]
        assert actions[-1] == CONTINUE and trial.status == "completed"


def test_decisions_are_kept_before_they_are_carried_out():
    study = at_milestone(study_of("halving"))
    del study.executor.log[:]
    assert study.ask().name == "c"
    (_, decided, trial), *changes = study.executor.log
    assert trial is None and {n for n, action in decided if action == STOP} == {"a", "b"}
    assert changes == [("changed", "b", "stopped"), ("changed", "a", "stopped")]


def test_a_clone_takes_the_place_of_the_trial_that_it_replaces():
    study = at_milestone(study_of("pbt"))
    assert study.ask() is not None
    clone = study.trials["d_g1"]
    assert clone.curve == study.trials["d"].curve and study.trials["a"].status == "stopped"
    assert ("changed", "d_g1", "pending") in study.executor.log
    assert len(study.unfinished) == 4


def test_what_was_decided_is_carried_out_once_however_often_it_is_replayed():
    study = at_milestone(study_of("pbt"))
    decided = study.scheduler.decide(study.trials)
    study.replay(decided)
    clone = study.trials["d_g1"]
    clone.curve[3] = 0.9
    again = study_of("pbt")
    again.trials = dict(study.trials)
    again.replay(decided)
    assert again.trials["d_g1"] is clone and clone.curve[3] == 0.9
    assert again.scheduler.last_milestone == 2


def test_a_trial_that_was_stopped_and_did_not_hear_of_it_is_stopped_by_the_replay():
    study = study_of("asha")
    study.trials["b"].curve = {1: 0.1, 2: 0.1}
    study.replay([Decision("asha", "b", 2, STOP, {"score": 0.1})])
    assert study.trials["b"].status == "stopped"
    assert study.executor.log == [("changed", "b", "stopped")]
    assert [study.ask().name for _ in range(3)] == ["a", "c", "d"] and study.ask() is None


def test_decisions_of_another_scheduler_or_on_experiments_left_out_are_passed_over():
    copied = {"parent": "gone", "replaces": "a", "settings": {}}
    study = study_of("pbt")
    study.replay(
        [
            Decision("asha", "a", 2, STOP, {"score": 0.1}),
            Decision("pbt", "gone_g1", 2, EXPLOIT, copied),
            Decision("pbt", "gone", 2, CONTINUE),
        ]
    )
    assert list(study.trials) == list(PRESETS) and len(study.unfinished) == 4


@pytest.mark.parametrize(("name", "state"), [("halving", {}), ("asha", {"score": "high"})])
def test_a_decision_that_the_scheduler_cannot_take_in_is_named_with_the_way_out(name, state):
    found = f"run_state.jsonl: decisions: {name} cannot apply .* 'a' after epoch 2, .*from a backup"
    with pytest.raises(ConfigurationError, match=found):
        study_of(name).replay([Decision(name, "a", 2, STOP, state)])


def test_new_trials_are_suggested_as_there_is_room_and_the_search_knows_its_end():
    study = study_of(experiments={"found": {"num_samples": 2, **SEARCH}}, search="optuna")
    first = study.ask()
    assert study.executor.log == [("added", "found_0001")] and not study.is_over()
    first.status = "failed"
    study.end(first)
    assert not study.is_over()  # it has suggested another one
    second = study.ask()
    assert second.name == "found_0002" and study.ask() is None
    second.status = "completed"
    assert study.is_over() and len(study.trials) == 2


class Announcing(Scheduler):
    """Decides in `next`, and takes the newest trial first."""

    name = "announcing"

    def __init__(self, setup):
        super().__init__(setup)
        self.applied = []

    def next(self, pending, trials, new):
        trial = next(reversed(pending.values()), None)
        return Job(trial, self._decision(trial.name, 0, START)) if trial else None

    def apply(self, decision):
        self.applied.append(decision.trial)


def test_a_decision_on_what_trains_next_is_kept_and_taken_in():
    study = study_of(Announcing)
    assert [study.ask().name for _ in range(2)] == ["d", "c"]
    assert study.executor.log == [
        ("keep", [("d", START)], None),
        ("keep", [("c", START)], None),
    ]
    assert study.scheduler.applied == ["d", "c"]


def test_a_trial_that_is_stopped_before_its_first_epoch_is_no_result_after_a_replay_either():
    study = study_of("freeze-thaw", epoch_budget=4)
    while trial := study.ask():
        while report(study, trial, 0.5) == CONTINUE and not trial.is_finished:
            pass
    assert study.is_over() and study.never_begun
    assert all(trial.curve for trial in study.trials.values())
    assert {*study.trials, *study.never_begun} == set(PRESETS)
    decided = [Decision("freeze-thaw", n, 0, STOP) for n in study.never_begun]
    again = study_of("freeze-thaw", epoch_budget=4)
    again.replay(decided)
    assert set(again.never_begun) == set(study.never_begun) and again.ask() is not None
