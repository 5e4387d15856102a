"""A recorded trial trained again: what comes out the same is said, and what does not."""

import json

import pandas as pd
import pytest
import torch
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.models import ModelRegistry, create_model
from raytune_ocr.results.document import RESULTS_COPY, environment, results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.execution.ray_executor.trainable import run_trial
from raytune_ocr.tune.selection.reproduce import Part, other_environment, parts_of, reproduce
from raytune_ocr.tune.storage.mirror import keep_state


def recorded(folder, data, **settings):
    """A trial as a run leaves it, in its folder."""
    config = TrainingConfig(
        **{
            "model_name": "ctc_small",
            "loss_type": "ctc",
            "batch_size": 16,
            "metadata_path": str(data),
            "output_dir": str(folder),
            "experiment_name": "one",
            "use_tensorboard": False,
            **settings,
        }
    )
    record = TrialRecord(config, status="completed", stop_reason="max_epochs")

    def report(row, state):
        if state:
            keep_state(folder / "one", state, row["epoch"])
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
    output = capsys.readouterr().out
    assert "epoch 1/2: identical" in output and "epoch 2/2: identical" in output
    assert "another" not in output


def test_what_is_not_the_same_is_reported_by_epoch_and_figure(run, tmp_path, capsys):
    document = json.loads((run / RESULTS_COPY).read_text())
    document["environment"]["torch"] = "1.0"
    document["best_result"]["config"]["output_dir"] = str(tmp_path)
    (tmp_path / RESULTS_COPY).write_text(json.dumps(document))
    epochs = pd.read_csv(run / "epochs.csv", engine="python")
    epochs.loc[1, "val_loss"] += 1e-15 + abs(epochs.loc[1, "val_loss"]) * 1e-15
    epochs.to_csv(tmp_path / "epochs.csv", index=False)
    assert main(["--reproduce", str(tmp_path)]) == 1
    output = capsys.readouterr().out
    assert "different torch: was 1.0" in output
    assert "epoch 1/2: identical" in output
    assert "epoch 2/2: val_loss was" in output


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


class Hungry(nn.Module):
    """A reader that runs out of memory in its third epoch, with more than eight images."""

    kind = "ctc"

    def __init__(self):
        super().__init__()
        self.reader = create_model("ctc_small")
        self.register_buffer("batches", torch.zeros(()))

    def forward(self, images):
        self.batches += self.training
        if self.training and len(images) > 8 and self.batches > 12:
            raise MemoryError
        return self.reader(images)


@pytest.fixture
def hungry(monkeypatch):
    """The model by name, for one test."""
    monkeypatch.setattr(ModelRegistry, "_factories", {**ModelRegistry._factories})
    ModelRegistry.register("hungry")(Hungry)


def test_a_batch_that_was_halved_in_mid_training_is_halved_there_again(
    hungry, data, tmp_path, capsys
):
    recorded(tmp_path, data, model_name="hungry", num_epochs=4, seed=5)
    epochs = pd.read_csv(tmp_path / "epochs.csv")
    assert list(epochs["batch_size"]) == [16, 16, 8, 8]
    assert main(["--reproduce", str(tmp_path), "--trial", "one"]) == 0
    assert capsys.readouterr().out.count(": identical") == 5
    epochs.drop(columns="batch_size").to_csv(tmp_path / "epochs.csv", index=False)
    assert main(["--reproduce", str(tmp_path), "--trial", "one"]) == 1
    output = capsys.readouterr().out
    assert "halved the batch from 16 to 8, but the epoch is not recorded" in output


def test_parts_have_the_batches_and_threads_that_are_recorded():
    config = TrainingConfig(batch_size=33)
    sizes = ((33, 1), (33, 1), (17, 1), (9, 1), (9, 4))
    rows = {epoch: {"batch_size": b, "threads": t} for epoch, (b, t) in enumerate(sizes, 1)}
    parts = parts_of(config, rows, 9, 4)
    found = [(part.config.batch_size, part.threads, part.last) for part in parts]
    assert found == [(33, 1, 2), (17, 1, 3), (9, 1, 4), (9, 4, 5)]
    assert [p.config.gradient_accumulation_steps for p in parts] == [1, 2, 4, 4]
    (one,) = parts_of(config, {1: {}, 2: {}}, 17, 2)
    assert (one.config.batch_size, one.threads, one.last) == (17, 2, 2)
    assert parts_of(config, {}, 33, 1) == [Part(config, 1, 0)]  # it failed in its first epoch


def test_an_unknown_trial_and_a_run_without_tables_are_reported(run, tmp_path):
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
        f"different torch: was 1.0, is {here['torch']}"
    ]
