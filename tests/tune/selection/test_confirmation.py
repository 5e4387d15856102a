"""The best trials with fresh seeds: who wins, by how much, and whether that is more than noise."""

import json

import pandas as pd
import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.aggregate import ranking
from raytune_ocr.results.document import results_document
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.selection.confirmation import confirmation, confirming_records, winner

TWO_KINDS_OF_DATA = """
experiments:
  before:
    model: {name: ctc_small}
    training: {num_epochs: 1, batch_size: 16, use_tensorboard: false}
  after:
    model: {name: ctc_small}
    training: {num_epochs: 1, batch_size: 16, use_tensorboard: false}
    data: {options: {composed: 32}}
"""


def record(name, score, seed=0, status="completed", confirms=""):
    made = TrialRecord(
        TrainingConfig(experiment_name=name, seed=seed), status=status, confirms=confirms
    )
    if score is not None:
        row = {"epoch": 1, "train_loss": 0.1, "val_char_accuracy": score, "val_seq_accuracy": score}
        made.add({**row, "seconds": 1.0})
    return made


def confirmed(first, second):
    """A search that `lucky` won, and what both reached with other seeds."""
    records = [record("lucky", 0.99), record("steady", 0.98), record("third", 0.5)]
    for name, scores in (("lucky", first), ("steady", second)):
        for seed, score in enumerate(scores, 101):
            status = "failed" if score is None else "completed"
            records.append(record(f"{name}-seed{seed}", score, seed, status, name))
    return records


def test_the_best_are_trained_again_with_seeds_that_the_search_did_not_use():
    records = [record("a", 0.3, seed=7), record("b", 0.9, seed=101), record("c", 0.6)]
    made = confirming_records(records, candidates=2, seeds=2)
    assert list(made) == ["b-seed102", "b-seed103", "c-seed102", "c-seed103"]
    assert {r.config.seed for r in made.values()} == {102, 103}
    assert made["c-seed103"].confirms == "c"
    assert made["b-seed102"].config.learning_rate == records[1].config.learning_rate
    assert confirming_records([*records, *made.values()], 2, 2).keys() == made.keys()


def test_names_of_the_search_are_not_taken_and_long_ones_are_cut():
    records = [record("a", 0.9), record("a-seed101", 0.8)]
    assert list(confirming_records(records, candidates=1, seeds=1)) == ["a-seed102"]
    long = [record("x" * 92 + f"_{number:04d}", number / 10) for number in (1, 2, 3)]
    made = confirming_records(long, candidates=3, seeds=2)
    assert len(made) == 6 and {r.confirms for r in made.values()} == {r.name for r in long}
    assert all(len(name) == 100 and name.startswith("x" * 80) for name in made)
    assert confirming_records([*long, *made.values()], 3, 2).keys() == made.keys()


def test_the_winner_is_the_best_mean_and_not_the_luckiest():
    records = confirmed(first=(0.90, 0.94), second=(0.97, 0.96))
    assert ranking(records)[0].name == "lucky"
    assert winner(records).name == "steady"
    found = confirmation(records, {})
    assert [c["experiment_name"] for c in found["candidates"]] == ["steady", "lucky"]
    first = found["candidates"][0]
    assert first["mean"] == pytest.approx(0.965)
    assert first["std"] == pytest.approx(0.00707, abs=1e-5)
    low, high = first["interval"]
    assert 0.96 <= low < 0.965 < high <= 0.97
    assert first["scores"] == {"101": 0.97, "102": 0.96}
    assert (found["winner"], found["runner_up"]) == ("steady", "lucky")
    assert found["lead"] == pytest.approx(0.045)


def test_a_lead_within_noise_is_said_to_be_that():
    found = confirmation(confirmed((0.90, 0.98, 0.93), (0.92, 0.97, 0.94)), {})
    assert found["within_noise"] and "within noise" in found["verdict"]
    clear = confirmation(confirmed((0.90, 0.91, 0.905), (0.971, 0.98, 0.974)), {})
    assert not clear["within_noise"] and "is significant" in clear["verdict"]
    assert clear["p_value"] < 0.01


def test_failed_seeds_are_left_out_of_the_comparison_and_reported():
    records = confirmed((0.90, None), (0.97, 0.5))
    found = confirmation(records, {})
    assert found["winner"] == "steady"
    assert found["lead"] == pytest.approx(0.07)
    assert found["p_value"] is None and "cannot tell" in found["verdict"]
    assert found["verdict"].endswith("Failed: lucky with 1 of 2 seeds.")
    assert [c["failed_seeds"] for c in found["candidates"]] == [[], [102]]
    none = confirmation(confirmed((None, None), (None, None)), {})
    assert none["winner"] is None and "nothing is confirmed" in none["verdict"]
    assert winner(confirmed((None,), (None,))).name == "lucky"


def test_a_trial_that_fails_with_most_seeds_does_not_win():
    records = confirmed((0.98, None, None), (0.97, 0.96, 0.95))
    found = confirmation(records, {})
    assert winner(records).name == found["winner"] == "steady"
    assert found["lead"] == pytest.approx(-0.01)
    assert found["verdict"] == (
        "steady failed less often, but lucky is 0.0100 ahead in the mean of the 1 seed "
        "that both completed. Failed: lucky with 2 of 3 seeds."
    )


def test_a_winner_by_other_seeds_than_the_second_completed_is_said_to_be_that():
    found = confirmation(confirmed((0.90, 0.99, None), (0.91, None, 0.5)), {})
    assert found["winner"] == "lucky"
    assert found["verdict"].startswith("lucky has the best mean, but steady is 0.0100 ahead")
    assert "lucky with 1 of 3 seeds; steady with 1 of 3 seeds" in found["verdict"]


def test_figures_of_which_lower_ones_are_better_are_reported_as_they_were_measured():
    def classifier(name, loss, seed=0, confirms=""):
        config = TrainingConfig(
            experiment_name=name,
            seed=seed,
            dataset_name="mnist",
            early_stopping_monitor="val_loss",
        )
        made = TrialRecord(config, status="completed", confirms=confirms)
        made.add({"epoch": 1, "train_loss": 0.1, "val_loss": loss, "seconds": 1.0})
        return made

    records = [classifier("first", 0.2), classifier("second", 0.3)]
    for name, losses in (("first", (0.31, 0.33)), ("second", (0.21, 0.25))):
        records += [classifier(f"{name}-{s}", x, s, name) for s, x in enumerate(losses, 101)]
    found = confirmation(records, {})
    assert found["metric"] == "val_loss"
    assert winner(records).name == found["winner"] == "second"
    best, other = found["candidates"]
    assert (best["mean"], other["mean"]) == (pytest.approx(0.23), pytest.approx(0.32))
    low, high = best["interval"]
    assert 0.21 <= low < high <= 0.25 and best["scores"] == {"101": 0.21, "102": 0.25}
    assert found["lead"] == pytest.approx(0.09)
    assert "second is 0.0900 ahead of first" in found["verdict"]


def test_an_unfinished_confirmation_decides_nothing():
    records = [*confirmed((0.9,), (0.97,)), record("lucky-seed102", 0.1, 102, "running", "lucky")]
    assert winner(records).name == "lucky"
    found = confirmation(records, {})
    assert not found["complete"] and "winner" not in found
    assert found["verdict"] == "In progress: 2 of 3 runs with fresh seeds are done."


def test_confirming_trials_stand_apart_in_the_document():
    records = confirmed((0.90, 0.94), (0.97, 0.96))
    document = results_document(
        records, {}, "now", best=winner(records), confirmation=confirmation(records, {})
    )
    assert document["experiments_completed"] == 3
    assert [r["experiment_name"] for r in document["all_results"]] == ["lucky", "steady", "third"]
    assert document["best_result"]["experiment_name"] == "steady"
    assert len(document["confirmation"]["results"]) == 4


@pytest.mark.slow
def test_a_run_confirms_its_best_trials(confirmed_run):
    document = json.loads((confirmed_run / "results.json").read_text())
    found = document["confirmation"]
    assert len(document["all_results"]) == 3
    names = {c["experiment_name"] for c in found["candidates"]}
    ranked = sorted(document["all_results"], key=lambda r: -r["best_val_char_accuracy"])
    assert names == {r["experiment_name"] for r in ranked[:2]}
    assert {r["experiment_name"] for r in found["results"]} == {
        f"{name}-seed{seed}" for name in names for seed in (101, 102)
    }
    assert all(r["stop_reason"] == "max_epochs" for r in found["results"])  # ASHA did not judge
    assert document["best_result"]["experiment_name"] == found["winner"]
    epochs = pd.read_csv(confirmed_run / "epochs.csv")
    assert set(epochs["experiment_name"]) == {"first", "second", "third"}
    assert len(pd.read_csv(confirmed_run / "confirmation_trials.csv")) == 4
    epochs = pd.read_csv(confirmed_run / "confirmation_epochs.csv")
    assert not epochs.duplicated(["experiment_name", "epoch"]).any()
    rungs = Journal(confirmed_run).read().decisions
    assert rungs and not [decision for decision in rungs if "-seed" in decision.trial]


@pytest.mark.slow
def test_a_trial_of_an_earlier_part_is_confirmed_on_its_own_data(shared_ray, data, tmp_path):
    space, output = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text(TWO_KINDS_OF_DATA)
    words = ["--config", str(space), "--data", str(data), "--output-dir", str(output), "--quiet"]
    words += ["--results-file", f"{output}.json"]
    assert main([*words, "--experiments", "before"]) == 0
    assert main([*words, "--resume", "--confirm", "2", "--confirm-seeds", "1"]) == 0
    found = json.loads((output / "results.json").read_text())["confirmation"]
    results = {r["experiment_name"]: r.get("error_message", "") for r in found["results"]}
    assert results == {"before-seed101": "", "after-seed101": ""}


@pytest.mark.slow
def test_the_test_split_is_read_for_the_winner_alone(confirmed_run):
    document = json.loads((confirmed_run / "results.json").read_text())
    best = document["best_result"]
    for name in ("test_char_accuracy", "test_seq_accuracy", "best_val_char_accuracy"):
        low, high = best[f"{name}_interval"]
        assert 0 <= low <= best[name] <= high <= 1
    assert best["test_images"] == 8
    have = [r["experiment_name"] for r in document["all_results"] if "test_images" in r]
    assert have == [best["experiment_name"]]
    read = Journal(confirmed_run).read().facts["test_split"]
    assert [fact["trial"] for fact in read] == have


@pytest.mark.slow
def test_a_confirming_trial_is_reproduced_without_ray(confirmed_run, capsys):
    found = json.loads((confirmed_run / "results.json").read_text())["confirmation"]
    for name in (found["winner"], found["results"][0]["experiment_name"]):
        assert main(["--reproduce", str(confirmed_run), "--trial", name]) == 0
        assert "identical" in capsys.readouterr().out
