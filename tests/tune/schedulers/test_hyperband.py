from raytune_ocr.results.decision import CONTINUE, STOP
from raytune_ocr.tune.schedulers.hyperband import AsyncHyperBand
from tests.fixtures.simulated import by_name, restored, simulated

NAMES = [f"found_{number:04d}" for number in range(1, 401)]


def in_bracket(scheduler, bracket):
    return [name for name in NAMES if scheduler.bracket(name) == bracket]


def report(scheduler, name, epoch, score):
    trial = simulated(name)
    trial.curve = {epoch: score}
    decision = scheduler.report(trial, by_name(trial))
    scheduler.apply(decision)
    return decision


def test_brackets_spare_some_trials_the_early_rungs():
    scheduler = restored(AsyncHyperBand)  # rungs at 2, 4 and 8
    counts = [len(in_bracket(scheduler, bracket)) for bracket in range(4)]
    assert sum(counts) == 400 and counts[0] > counts[1] > 40 and min(counts) > 20
    early, late = in_bracket(scheduler, 0)[0], in_bracket(scheduler, 2)[0]
    assert [e for e in range(11) if scheduler.judges(early, e)] == [2, 4, 8]
    assert [e for e in range(11) if scheduler.judges(late, e)] == [8]


def test_a_trial_is_compared_within_its_bracket_only():
    scheduler = restored(AsyncHyperBand)
    first, second = in_bracket(scheduler, 0), in_bracket(scheduler, 1)
    decisions = [report(scheduler, first[0], 4, 0.9), report(scheduler, second[0], 4, 0.1)]
    assert [decision.decision for decision in decisions] == [CONTINUE, CONTINUE]
    decisions.append(report(scheduler, first[1], 4, 0.8))
    assert decisions[-1].decision == STOP
    again = restored(AsyncHyperBand, decisions)
    assert report(again, first[2], 4, 0.8).decision == STOP
    assert {decision.scheduler for decision in decisions} == {"hyperband"}
