"""A recorded trial trained again: what comes out the same is said, and what does not."""

import json

import pandas as pd
import pytest

from raytune_ocr.config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.reproduce import config_used, other_environment, reproduce
from raytune_ocr.tune.results import (
    RESULTS_COPY,
    TrialRecord,
    environment,
    results_document,
    write_json,
    write_tables,
)
from raytune_ocr.tune.trial import run_trial


def recorded(folder, data, **settings):
    """A trial as a run leaves it, in its folder."""
    config = TrainingConfig(
        model_name="ctc_small",
        loss_type="ctc",
        batch_size=16,
        metadata_path=str(data),
        output_dir=str(folder),
        experiment_name="one",
        use_tensorboard=False,
        **settings,
    )
    record = TrialRecord(config, "completed", "max_epochs")

    def report(row, state):
        record.add(row)
        if row.get("error_message"):
            record.status, record.error_message = "failed", row["error_message"]

    run_trial(config, None, report)
    write_json(folder / RESULTS_COPY, results_document([record], {}, "20260101_000000"))
    write_tables(folder, [record], {})
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("run"), data, num_epochs=2, seed=5)


def test_a_trial_comes_out_identical_to_the_last_bit(run, capsys):
    assert main(["--reproduce", str(run), "--trial", "one"]) == 0
    told = capsys.readouterr().out
    assert "epoch 1/2: identical" in told and "epoch 2/2: identical" in told
    assert "another" not in told


def test_what_is_not_the_same_is_told_by_epoch_and_figure(run, tmp_path, capsys):
    document = json.loads((run / RESULTS_COPY).read_text())
    document["environment"]["torch"] = "1.0"
    document["best_result"]["config"]["output_dir"] = str(tmp_path)
    (tmp_path / RESULTS_COPY).write_text(json.dumps(document))
    epochs = pd.read_csv(run / "epochs.csv", engine="python")
    epochs.loc[1, "val_loss"] += 1e-15 + abs(epochs.loc[1, "val_loss"]) * 1e-15
    epochs.to_csv(tmp_path / "epochs.csv", index=False)
    assert main(["--reproduce", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "another torch: was 1.0" in told
    assert "epoch 1/2: identical" in told
    assert "epoch 2/2: val_loss was" in told


def test_a_trial_that_was_stopped_is_trained_as_far_as_it_came(run, tmp_path, capsys):
    document = json.loads((run / RESULTS_COPY).read_text())
    document["best_result"]["stop_reason"] = "scheduler"
    (tmp_path / RESULTS_COPY).write_text(json.dumps(document))
    pd.read_csv(run / "epochs.csv", dtype=str).head(1).to_csv(tmp_path / "epochs.csv", index=False)
    assert reproduce(tmp_path)
    assert "epoch 2" not in capsys.readouterr().out


def test_a_trial_that_failed_fails_again_in_the_same_way(data, tmp_path, capsys):
    folder = recorded(
        tmp_path,
        data,
        num_epochs=2,
        learning_rate=1e30,
        optimizer_type="sgd",
        gradient_clip_norm=0,
    )
    assert main(["--reproduce", str(folder), "--trial", "one"]) == 0
    assert "the error is identical: DivergenceError" in capsys.readouterr().out


def test_the_batch_that_memory_did_for_is_used():
    config = TrainingConfig(batch_size=64).to_dict()
    result = {"config": config, "batch_size_used": 16, "accumulation_used": 4}
    used = config_used(result)
    assert (used.batch_size, used.gradient_accumulation_steps) == (16, 4)
    assert config_used({"config": config}).batch_size == 64


def test_an_unknown_trial_and_a_run_without_tables_are_told(run, tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'one'"):
        reproduce(run, "onne")
    document = json.loads((run / RESULTS_COPY).read_text())
    for result in (document["best_result"], *document["all_results"]):
        result["config"]["output_dir"] = "/nowhere"
    (tmp_path / "moved.json").write_text(json.dumps(document))
    with pytest.raises(DataNotFoundError, match=r"epochs\.csv"):
        reproduce(tmp_path / "moved.json")


def test_the_same_environment_has_no_differences():
    here = json.loads(json.dumps(environment()))
    assert list(other_environment(here)) == []
    assert list(other_environment({**here, "torch": "1.0"})) == [
        f"another torch: was 1.0, is {here['torch']}"
    ]
