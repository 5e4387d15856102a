from collections import Counter
from dataclasses import replace

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import KeptTrial
from raytune_ocr.tune.search.optuna_search import OptunaSearch, score_of_record
from raytune_ocr.tune.search.random_search import RandomSearch
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from raytune_ocr.tune.space.search_space import read_space

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


def space(seed=0, **experiments):
    experiments = experiments or {"preset": {}, "found": SEARCH}
    return read_space({"experiments": experiments}, "space.yaml", {"seed": seed})


def goodness(record):
    """Best at a learning rate of 1e-3 and 32 a batch."""
    import math

    config = record.config
    off = abs(math.log10(config.learning_rate) + 3) / 4 + abs(config.batch_size - 32) / 100
    return max(0.0, 1 - off)


def finish(record):
    value = goodness(record)
    record.status, record.stop_reason = "completed", "max_epochs"
    record.epochs.append({"epoch": 1, "val_char_accuracy": value, "val_seq_accuracy": value})


def drawn(search, number, interrupted_at=()):
    """Run a search to its end; at some numbers of records, go on as a resume would."""
    records = {record.name: record for record in search.first()}
    for record in records.values():
        finish(record)
    while len(records) < number and (record := search.next(records)) is not None:
        if len(records) in interrupted_at:
            kept = {
                r.name: KeptTrial(search=r.search, sampled=dict(r.sampled))
                for r in [*records.values(), record]
            }
            again = OptunaSearch(search.space)
            record = next(r for r in again.restored(kept) if r.name == record.name)
        finish(record)
        records[record.name] = record
    return records


def test_a_random_search_knows_all_its_trials_at_once():
    search = RandomSearch(space())
    names = [record.name for record in search.first()]
    assert names == ["preset", *(f"found_{n:04d}" for n in range(1, 13))]
    assert search.next({}) is None
    assert {record.search for record in search.first()} == {"", "found"}


def test_a_cap_takes_the_first_trials_and_keeps_what_was_begun():
    names = [record.name for record in RandomSearch(space(), max_trials=3).first()]
    assert names == ["preset", "found_0001", "found_0002"]
    begun = {*names, "found_0009"}
    more = [record.name for record in RandomSearch(space(), max_trials=5).first(begun)]
    assert more == [*names, "found_0003", "found_0009"]
    fewer = [record.name for record in RandomSearch(space(), max_trials=1).first(begun)]
    assert fewer == [*names, "found_0009"]


def test_optuna_gives_valid_different_trials_up_to_their_number():
    records = drawn(OptunaSearch(space()), 99)
    assert list(records) == ["preset", *(f"found_{n:04d}" for n in range(1, 13))]
    assert len({str(record.sampled) for record in records.values()}) == 13
    for record in list(records.values())[1:]:
        assert record.config.learning_rate == record.sampled["learning_rate"]
        assert ("label_smoothing" in record.sampled) == (record.config.model_name == "small")


def test_a_resumed_optuna_search_draws_what_an_undisturbed_one_does():
    whole = drawn(OptunaSearch(space(seed=5)), 13)
    parts = drawn(OptunaSearch(space(seed=5)), 13, interrupted_at=(3, 8))
    assert [r.config for r in parts.values()] == [r.config for r in whole.values()]
    other = drawn(OptunaSearch(space(seed=6)), 13)
    assert [r.sampled for r in other.values()] != [r.sampled for r in whole.values()]


def test_optuna_gives_no_trial_the_name_of_one_that_is_there():
    records = drawn(OptunaSearch(space()), 5)
    del records["found_0002"]  # the target was reached before it had an epoch
    record = OptunaSearch(space()).next(records)
    assert record.name == "found_0005"
    assert record.sampled not in [other.sampled for other in records.values()]


def test_optuna_finds_better_points_than_chance():
    content = {**SEARCH, "num_samples": 40}
    later = [
        goodness(record)
        for seed in range(2)
        for record in list(drawn(OptunaSearch(space(seed, found=content)), 99).values())[20:]
    ]
    chance = [
        goodness(record)
        for seed in range(2)
        for record in RandomSearch(space(seed, found=content)).first()[20:]
    ]
    assert sum(later) / len(later) > sum(chance) / len(chance) + 0.1


def test_trials_that_run_or_failed_do_not_stop_the_search():
    search = OptunaSearch(space(found=SEARCH))
    records = {}
    for number in range(8):
        record = search.next(records)
        record.status = ("running", "failed", "pending", "completed")[number % 4]
        records[record.name] = record
    assert len(records) == 8


def test_a_trial_that_failed_is_told_as_the_worst_whatever_it_reached_before():
    record = RandomSearch(space()).first()[0]
    assert score_of_record(record) is None
    finish(record)
    assert score_of_record(record) == goodness(record) > 0
    record.status, record.stop_reason = "failed", "nan"
    assert score_of_record(record) == 0


def test_optuna_stops_at_the_cap_and_where_there_is_no_other_point():
    assert len(drawn(OptunaSearch(space(), max_trials=4), 99)) == 4
    few = {"num_samples": 9, "training": {"batch_size": {"choice": [8, 16]}}}
    assert len(drawn(OptunaSearch(space(found=few)), 99)) == 2


def test_optuna_redraws_what_does_not_fit_together():
    content = {**SEARCH, "scheduler": {"min_lr": 1e-2}}
    records = drawn(OptunaSearch(space(found=content)), 99)
    assert min(record.config.learning_rate for record in records.values()) >= 1e-2


def test_optuna_is_told_of_known_points_off_its_grid():
    content = {
        **SEARCH,
        "training": {
            "batch_size": {"quniform": [16, 60, 16]},
            "gradient_clip_norm": {"randint": [1, 5]},
        },
    }
    known = KnownPoints([Known("old.json", {"batch_size": 60, "gradient_clip_norm": 2.5}, 0.5)])
    search = OptunaSearch(space(found=content), known)
    (told,) = search._study(search.space.experiments["found"], [], 1).trials
    assert told.params == {"batch_size": 2, "gradient_clip_norm": 2}
    assert search.next({}).config.batch_size in (16, 32, 48)


def test_optuna_covers_a_grid_and_each_combination_as_often_as_the_others():
    batch, rate = {"grid": [8, 16, 24, 32, 40]}, {"grid": [1e-4, 2e-4, 5e-4, 1e-3, 2e-3]}
    pure = {"training": {"batch_size": batch, "learning_rate": rate}}
    records = drawn(OptunaSearch(space(found=pure)), 99)
    assert list(records) == [f"found_{n:04d}" for n in range(1, 26)]
    assert len({str(record.sampled) for record in records.values()}) == 25
    training = {"batch_size": batch, "learning_rate": {"loguniform": [1e-5, 1e-1]}}
    content = {"num_samples": 3, "training": training}
    mixed = drawn(OptunaSearch(space(found=content)), 99, interrupted_at=(4, 11))
    counted = Counter(record.config.batch_size for record in mixed.values())
    assert counted == dict.fromkeys(batch["grid"], 3)
    again = drawn(OptunaSearch(space(found=content)), 99)
    assert [r.config for r in again.values()] == [r.config for r in mixed.values()]


def test_optuna_trains_the_combinations_of_a_grid_that_are_not_known():
    content = {"training": {"batch_size": {"grid": [8, 16, 24, 32]}}}
    fields = [{"batch_size": size} for size in (8, 24)]
    known = KnownPoints([Known("old.json", one, 0.5) for one in fields])
    records = drawn(OptunaSearch(space(found=content), known), 99)
    assert [record.config.batch_size for record in records.values()] == [16, 32]


def test_optuna_passes_over_a_combination_that_has_no_valid_point():
    training = {"learning_rate": {"grid": [1e-5, 1e-3]}, "batch_size": {"choice": [8, 16]}}
    found = space(found={"num_samples": 1, "training": training})
    broken = {"scheduler": {"min_lr": 1e-4}, **found.experiments["found"].content}
    found.experiments["found"] = replace(found.experiments["found"], content=broken)
    assert OptunaSearch(found).next({}).config.learning_rate == 1e-3


def test_optuna_is_told_no_value_that_had_no_effect_on_a_known_point():
    gamma = {"uniform": [0.5, 3], "when": {"training.loss_type": "focal"}}
    loss = {"choice": ["crossentropy", "focal"]}
    content = {"training": {"loss_type": loss, "focal_gamma": gamma}}
    fields = [{"loss_type": loss, "focal_gamma": 2.0} for loss in ("crossentropy", "focal", "ctc")]
    fields.append({"focal_gamma": 2.0})  # of a loss that is not told, so the default
    known = KnownPoints([Known("old.json", one, 0.5) for one in fields])
    search = OptunaSearch(space(found=content), known)
    told = search._study(search.space.experiments["found"], [], 1).trials
    assert [trial.params for trial in told] == [
        {"loss_type": '"crossentropy"'},
        {"loss_type": '"focal"', "focal_gamma": 2.0},
        {},
        {},
    ]


def test_searching_the_data_with_optuna_is_refused():
    content = {"data": {"metadata_path": {"choice": ["a", "b"]}}}
    with pytest.raises(ConfigurationError, match=r"data\.metadata_path: cannot be"):
        OptunaSearch(space(found=content))


def test_known_points_are_not_drawn_again():
    known = {record.name: record for record in RandomSearch(space()).first()}
    points = KnownPoints()
    assert not points.skip(known["preset"].config)
