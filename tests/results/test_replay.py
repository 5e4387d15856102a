"""Lines of a journal, taken in one after another."""

import math

from raytune_ocr.results.replay import Replay, TrialState


def line(*epochs, **more):
    rows = [{"epoch": epoch, "val_loss": None} for epoch in epochs]
    return {"trial": "a", "status": "running", "rows": rows, **more}


def test_an_epoch_that_was_trained_again_replaces_what_followed_it():
    state = TrialState()
    for each in (line(1, 2, 3), line(2)):
        state.apply(each)
    assert [row["epoch"] for row in state.epochs] == [1, 2]
    assert all(math.isnan(row["val_loss"]) for row in state.epochs)


def test_what_a_later_line_does_not_tell_stays():
    state = TrialState()
    state.apply(line(1, made_with={"torch": "1"}, search="s"))
    state.apply(line(2, made_with={"torch": "2"}))
    assert (state.search, state.made_with) == ("s", {"torch": "2"})
    assert state.has_work and not state.is_finished


def test_runs_trials_and_facts_are_told_apart():
    replay = Replay()
    for entry in ({"run": {"id": "x"}}, line(1), {"known": {"b": 1}}, {"known": {"b": 2}}):
        replay.apply(entry)
    assert replay.about == {"id": "x"} and list(replay.trials) == ["a"]
    assert replay.facts == {"known": [{"b": 1}, {"b": 2}]}
