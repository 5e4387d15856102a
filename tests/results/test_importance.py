import pandas as pd
import pytest

from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.importance import FEWEST_TRIALS, importance, varied
from tests.fixtures.records import searched_run, trial


@pytest.fixture
def run(tmp_path):
    return searched_run(tmp_path / "run")


def test_what_varied_is_what_the_experiments_set(run):
    assert set(varied(run)) == {"learning_rate", "optimizer_type"}


def test_settings_that_changed_in_mid_training_are_as_they_were_at_the_end(tmp_path):
    changes = [{"after_epoch": 1, "learning_rate": 3e-4}, {"after_epoch": 3, "weight_decay": 0.5}]
    records = [trial(tmp_path, 1, 0.5), trial(tmp_path, 2, 0.6, changes=changes)]
    write_json(tmp_path / "r.json", results_document(records, {}, "20260101_000000"))
    table = varied(tmp_path / "r.json")  # three epochs each: nothing came after the third
    assert table.to_dict("list") == {"learning_rate": [1e-3, 3e-4]}


def test_what_decides_the_score_is_most_important_and_above_chance(run):
    table = importance(run)
    assert table["setting"].tolist()[0] == "learning_rate"
    first = table.iloc[0]
    assert first["importance"] > first["chance"]
    assert 0 <= first["low"] <= first["high"] <= 1 + 1e-9
    pd.testing.assert_frame_equal(table, importance(run))


def focal_or_not(folder, number, gamma=None):
    """A trial of a search where `focal_gamma` is drawn for the focal loss alone, the better one."""
    drawn = {"loss_type": "crossentropy"} if gamma is None else {"loss_type": "focal"}
    drawn |= {} if gamma is None else {"focal_gamma": gamma}
    score = 0.5 + 0.3 * (gamma is not None) + number * 7 % 5 / 100
    made = trial(folder, number, score, **drawn)
    made.search, made.sampled = "found", drawn
    return made


def test_a_setting_without_effect_is_not_credited_with_what_switched_it_off(tmp_path):
    gammas = [None, 3.0, None, 4.0, None, 5.0, None, 4.5, None, 3.5, None, 5.5]
    records = [focal_or_not(tmp_path, number, gamma) for number, gamma in enumerate(gammas)]
    write_json(tmp_path / "r.json", results_document(records, {}, "20260101_000000"))
    settings = varied(tmp_path / "r.json")
    assert settings["focal_gamma"].isna().tolist() == [gamma is None for gamma in gammas]
    table = importance(tmp_path / "r.json").set_index("setting")
    assert table["trials"].to_dict() == {"loss_type": 12, "focal_gamma": 6}
    assert table["importance"]["focal_gamma"] < table["chance"]["focal_gamma"]


def test_a_setting_that_was_the_same_wherever_it_had_an_effect_has_not_varied(tmp_path):
    records = [focal_or_not(tmp_path, n, gamma) for n, gamma in enumerate([None, 3.0, 3.0])]
    write_json(tmp_path / "r.json", results_document(records, {}, "20260101_000000"))
    assert list(varied(tmp_path / "r.json")) == ["loss_type"]


def test_few_trials_give_no_importance(tmp_path):
    records = [trial(tmp_path, n, 0.5 + n / 10, patience=n) for n in range(FEWEST_TRIALS - 1)]
    write_json(tmp_path / "r.json", results_document(records, {}, "20260101_000000"))
    assert importance(tmp_path / "r.json").empty
