from types import SimpleNamespace

from raytune_ocr.tune.tracking.ray_logger import (
    PAUSED,
    Described,
    OfRun,
    figures_of,
    settings_of,
)


class Tracker:
    """Stands for a callback of Ray's: keeps its calls."""

    def __init__(self):
        self.calls = []

    def log_trial_start(self, trial):
        self.calls.append(("start", trial.number, trial.config))

    def log_trial_result(self, iteration, trial, result):
        self.calls.append(("result", trial.number, result["training_iteration"]))

    def log_trial_end(self, trial, failed=False):
        self.calls.append(("end", trial.number, failed))

    def on_experiment_end(self, trials, **info):
        self.calls.append(("over", len(trials)))


class Kept(Described, Tracker):
    pass


def trial(number, name="one", paused=False):
    config = {"experiment_name": name, "config": {"learning_rate": 0.1}, PAUSED: paused}
    return SimpleNamespace(number=number, config=config)


def test_a_trial_that_pauses_and_continues_is_one_run_of_the_tracker():
    tracker = Kept()
    first, second = trial(1, paused=True), trial(2)
    for part, epochs in ((first, (1, 2)), (second, (3,))):
        tracker.log_trial_start(part)
        for epoch in epochs:
            tracker.log_trial_result(1, part, {"epoch": epoch})
        tracker.log_trial_end(part)
    assert tracker.calls == [
        ("start", 1, {"learning_rate": 0.1}),
        ("result", 1, 1),
        ("result", 1, 2),
        ("result", 1, 3),
        ("end", 1, False),
    ]
    assert first.config["experiment_name"] == "one"


def test_a_trial_that_waits_as_the_run_ends_has_ended_and_a_failed_one_only_once():
    tracker = Kept()
    for part in (trial(1, "waits", paused=True), trial(2, "fails", paused=True)):
        tracker.log_trial_start(part)
    tracker.log_trial_end(trial(1, "waits", paused=True))
    tracker.log_trial_end(trial(2, "fails", paused=True), failed=True)
    tracker.on_experiment_end([])
    assert tracker.calls[2:] == [("end", 2, True), ("end", 1, False), ("over", 0)]


def test_only_figures_of_the_epoch_are_reported_under_their_own_names():
    report = {"epoch": 2, "val_loss": 0.5, "pid": 12, "done": True, "date": "today"}
    report |= {"config": {"config": {"learning_rate": 0.1}}, "experiment_name": "one"}
    assert figures_of(report) == {"epoch": 2, "val_loss": 0.5}


def test_parameters_of_ones_own_have_their_own_names():
    own = {"parameters": {"lr": 0.1, "seed": 2}, "seed": 1, "batch_size": 16}
    assert settings_of(own) == {"lr": 0.1, "parameters.seed": 2, "seed": 1, "batch_size": 16}
    of_function = {**own, "trainable": "my:train", "num_epochs": 3}
    assert settings_of(of_function) == {
        "lr": 0.1,
        "parameters.seed": 2,
        "seed": 1,
        "trainable": "my:train",
        "num_epochs": 3,
    }


class Named(OfRun, Tracker):
    pass


def test_a_trial_has_a_name_that_no_other_run_has():
    names = {Named(run=run).whole_name(trial(1)) for run in ("a", "b")}
    assert names == {"a/one", "b/one"}
