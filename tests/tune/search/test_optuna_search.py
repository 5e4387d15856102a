import math
from collections import Counter
from dataclasses import replace

from raytune_ocr.tune.search.optuna_search import OptunaSearch
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.simulated import records_of

SEARCH = {
    "num_samples": 12,
    "model": {"name": {"choice": ["small", "ctc_small"]}},
    "training": {
        "learning_rate": {"loguniform": [1e-5, 1e-1]},
        "batch_size": {"quniform": [16, 64, 16]},
        "label_smoothing": {"uniform": [0, 0.1], "when": {"model.name": "small"}},
    },
    "optimizer": {"betas": [{"uniform": [0.8, 0.95]}, {"choice": [0.99, 0.999]}]},
    "scheduler": {"min_lr": 0.0, "warmup_epochs": {"randint": [0, 3]}},
}
BOTH = {"preset": {}, "found": SEARCH}


def goodness(record):
    """Best at a learning rate of 1e-3 and 32 a batch."""
    config = record.config
    off = abs(math.log10(config.learning_rate) + 3) / 4 + abs(config.batch_size - 32) / 100
    return max(0.0, 1 - off)


def finish(record):
    value = goodness(record)
    record.complete("max_epochs")
    record.epochs.append({"epoch": 1, "val_char_accuracy": value, "val_seq_accuracy": value})


def drawn(experiments, number=99, interrupted_at=(), **settings):
    """The trials of a whole search; at some numbers of trials, it goes on as a resume would."""
    plan = records_of(experiments, "optuna", **settings)
    trials = {trial.name: trial for trial in plan.initial()}
    for trial in trials.values():
        finish(trial)
    while len(trials) < number and (trial := plan.suggest(trials)) is not None:
        if len(trials) in interrupted_at:
            begun = {t.name: (t.search, t.sampled) for t in (*trials.values(), trial)}
            plan = records_of(experiments, "optuna", **settings)
            trial = next(one for one in plan.restored(begun) if one.name == trial.name)
        finish(trial)
        trials[trial.name] = trial
    return trials


def searcher(content, seed=0, known=None):
    """The searcher of one experiment."""
    (experiment,) = read_space({"experiments": {"found": content}}).experiments.values()
    return OptunaSearch(experiment, seed, known or KnownPoints())


def known_points(*fields):
    return KnownPoints([Known("old.json", one, 0.5) for one in fields])


def test_it_suggests_valid_different_trials_up_to_their_number():
    trials = drawn(BOTH)
    assert list(trials) == ["preset", *(f"found_{n:04d}" for n in range(1, 13))]
    assert len({str(trial.sampled) for trial in trials.values()}) == 13
    for trial in list(trials.values())[1:]:
        assert trial.config.learning_rate == trial.sampled["learning_rate"]
        assert ("label_smoothing" in trial.sampled) == (trial.config.model_name == "small")


def test_a_resumed_search_suggests_what_an_undisturbed_one_does():
    whole = drawn(BOTH, seed=5)
    parts = drawn(BOTH, seed=5, interrupted_at=(3, 8))
    assert [t.config for t in parts.values()] == [t.config for t in whole.values()]
    other = drawn(BOTH, seed=6)
    assert [t.sampled for t in other.values()] != [t.sampled for t in whole.values()]


def test_it_finds_better_points_than_chance():
    content = {"found": {**SEARCH, "num_samples": 40}}
    later = [
        goodness(t) for seed in range(2) for t in list(drawn(content, seed=seed).values())[20:]
    ]
    chance = [
        goodness(t) for seed in range(2) for t in records_of(content, seed=seed).initial()[20:]
    ]
    assert sum(later) / len(later) > sum(chance) / len(chance) + 0.1


def test_trials_that_train_or_failed_do_not_stop_the_search():
    plan, trials = records_of({"found": SEARCH}, "optuna"), {}
    for number in range(8):
        trial = plan.suggest(trials)
        trial.status = ("running", "failed", "pending", "completed")[number % 4]
        trials[trial.name] = trial
    assert len(trials) == 8


def test_a_stopped_trial_is_a_pruned_one_and_a_failed_one_the_worst_of_them():
    plan = records_of({"found": {**SEARCH, "early_stopping": {"monitor": "val_loss"}}}, "optuna")
    trials = {}
    for loss in (0.5, 3.0, None):
        trial = plan.suggest(trials)
        trial.epochs.append({"epoch": 1, "val_loss": loss or 0.1})
        if loss is None:
            trial.fail("it ran out of memory")
        else:
            trial.complete("scheduler" if loss == 3.0 else "early_stopping")
        trials[trial.name] = trial
    searcher = plan.searchers["found"]
    searcher.suggest(4, list(trials.values()))
    *known, suggested = searcher.study().trials
    assert suggested.state.name == "RUNNING"
    assert [trial.state.name for trial in known] == ["PRUNED"] * 3
    assert [trial.intermediate_values for trial in known] == [{1: -0.5}, {1: -3.0}, {}]


def test_a_full_training_is_a_complete_trial_and_a_running_one_is_not_forgotten():
    plan = records_of({"found": SEARCH}, "optuna")
    trials = {}
    for number in range(2):
        trial = plan.suggest(trials)
        if number == 0:
            last = trial.max_epochs
            row = {"epoch": last, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.5}
            trial.epochs.append(row)
            trial.complete("max_epochs")
        trials[trial.name] = trial
    searcher = plan.searchers["found"]
    searcher.suggest(3, list(trials.values()))
    done, running, _ = searcher.study().trials
    assert (done.state.name, done.value, running.state.name) == ("COMPLETE", 0.5, "RUNNING")
    trials["found_0002"].fail("no reason")
    searcher.suggest(3, list(trials.values()))
    assert searcher.study().trials[1].state.name == "PRUNED"


def test_it_suggests_nothing_where_there_is_no_other_point():
    few = {"num_samples": 9, "training": {"batch_size": {"choice": [8, 16]}}}
    assert len(drawn({"found": few})) == 2


def test_what_does_not_fit_together_is_drawn_again():
    trials = drawn({"found": {**SEARCH, "scheduler": {"min_lr": 1e-2}}})
    assert min(trial.config.learning_rate for trial in trials.values()) >= 1e-2


def test_known_points_off_its_grid_inform_the_search():
    content = {
        **SEARCH,
        "training": {
            "batch_size": {"quniform": [16, 60, 16]},
            "gradient_clip_norm": {"randint": [1, 5]},
        },
    }
    search = searcher(content, known=known_points({"batch_size": 60, "gradient_clip_norm": 2.5}))
    (output,) = search.study().trials
    assert output.params == {"batch_size": 2, "gradient_clip_norm": 2}
    assert search.suggest(1, []).config.batch_size in (16, 32, 48)


def test_it_covers_a_grid_and_each_combination_as_often_as_the_others():
    batch, rate = {"grid": [8, 16, 24, 32, 40]}, {"grid": [1e-4, 2e-4, 5e-4, 1e-3, 2e-3]}
    trials = drawn({"found": {"training": {"batch_size": batch, "learning_rate": rate}}})
    assert list(trials) == [f"found_{n:04d}" for n in range(1, 26)]
    assert len({str(trial.sampled) for trial in trials.values()}) == 25
    training = {"batch_size": batch, "learning_rate": {"loguniform": [1e-5, 1e-1]}}
    content = {"found": {"num_samples": 3, "training": training}}
    mixed = drawn(content, interrupted_at=(4, 11))
    counted = Counter(trial.config.batch_size for trial in mixed.values())
    assert counted == dict.fromkeys(batch["grid"], 3)
    again = drawn(content)
    assert [t.config for t in again.values()] == [t.config for t in mixed.values()]


def test_it_trains_the_combinations_of_a_grid_that_are_not_known():
    content = {"found": {"training": {"batch_size": {"grid": [8, 16, 24, 32]}}}}
    trials = drawn(content, known=known_points({"batch_size": 8}, {"batch_size": 24}))
    assert [trial.config.batch_size for trial in trials.values()] == [16, 32]


def test_it_passes_over_a_combination_that_has_no_valid_point():
    training = {"learning_rate": {"grid": [1e-5, 1e-3]}, "batch_size": {"choice": [8, 16]}}
    search = searcher({"num_samples": 1, "training": training})
    broken = {**search.experiment.fields, "min_lr": 1e-4}
    search.experiment = replace(search.experiment, fields=broken)
    assert search.suggest(1, []).config.learning_rate == 1e-3


def test_no_value_that_had_no_effect_on_a_known_point_is_reported():
    gamma = {"uniform": [0.5, 3], "when": {"training.loss_type": "focal"}}
    loss = {"choice": ["crossentropy", "focal"]}
    fields = [{"loss_type": one, "focal_gamma": 2.0} for one in ("crossentropy", "focal", "ctc")]
    fields.append({"focal_gamma": 2.0})  # of a loss that is not given, so the default
    content = {"training": {"loss_type": loss, "focal_gamma": gamma}}
    output = searcher(content, known=known_points(*fields)).study().trials
    assert [trial.params for trial in output] == [
        {"loss_type": '"crossentropy"'},
        {"loss_type": '"focal"', "focal_gamma": 2.0},
        {},
        {},
    ]
