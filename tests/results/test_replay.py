"""Lines of a journal, taken in one after another."""

import math

from raytune_ocr.results.replay import Replay, TrialState


def rows(*epochs, **values):
    return [{"epoch": epoch, **values} for epoch in epochs]


def test_an_epoch_that_was_trained_again_replaces_it_and_all_after_it():
    trial = TrialState()
    trial.apply({"rows": rows(1, 2, 3, val_loss=0.5), "status": "running"})
    trial.apply({"rows": rows(2, val_loss=None)})
    assert [row["epoch"] for row in trial.epochs] == [1, 2]
    assert math.isnan(trial.epochs[1]["val_loss"])
    assert (trial.status, trial.has_work, trial.is_finished) == ("running", True, False)


def test_settings_stay_as_the_first_line_had_them():
    trial = TrialState()
    trial.apply({"rows": [], "fingerprint": "abc", "search": "found"})
    trial.apply({"rows": [], "status": "completed", "stop_reason": "max_epochs"})
    assert (trial.fingerprint, trial.search, trial.stop_reason) == ("abc", "found", "max_epochs")
    assert trial.has_work and trial.is_finished


def test_what_a_later_line_does_not_tell_stays():
    trial = TrialState()
    trial.apply({"rows": rows(1), "made_with": {"torch": "1"}, "search": "found"})
    trial.apply({"rows": rows(2), "made_with": {"torch": "2"}})
    assert (trial.search, trial.made_with) == ("found", {"torch": "2"})


def test_entries_are_reported_apart_by_what_they_hold():
    replay = Replay()
    decision = {"scheduler": "asha", "trial": "a", "epoch": 2, "decision": "STOP", "state": {}}
    for entry in (
        {"run": {"format": 2}},
        {"trial": "a", "rows": rows(1), "decisions": [decision]},
        {"decisions": [{**decision, "epoch": 3}]},
        {"test_split": {"trial": "a"}},
        {"test_split": {"trial": "b"}},
    ):
        replay.apply(entry)
    assert replay.about == {"format": 2} and list(replay.trials) == ["a"]
    assert [one.epoch for one in replay.decisions] == [2, 3]
    assert replay.facts == {"test_split": [{"trial": "a"}, {"trial": "b"}]}
