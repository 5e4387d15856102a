"""The OCR trainer on real rendered strings, with the smallest presets and few images."""

import dataclasses

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import PackedSplit, SyntheticComposer, create_data_loaders
from raytune_ocr.errors import CheckpointError, ConfigurationError, ExperimentFailedError
from raytune_ocr.models import ModelRegistry, create_model
from raytune_ocr.results.record import RUN_COLUMNS
from raytune_ocr.tasks.reader import ReaderTask
from raytune_ocr.training import (
    BaseTrainer,
    Callback,
    OCRTrainer,
    load_reader,
    train_from_config,
)
from raytune_ocr.training.evaluate import measure
from raytune_ocr.vocabulary import encode

FIGURES = {*ReaderTask.columns, *RUN_COLUMNS} - {
    "gpu_memory_mb",
    "cpus",
    "gpus",
    "cpu_kwh",
    "gpu_kwh",
    "ended_at",
}


@pytest.fixture(scope="module")
def splits():
    composer = SyntheticComposer(seed=1)
    packed = {}
    for name, size in (("train", 160), ("val", 48)):
        images, texts = composer.batch(size)
        targets = np.array([encode(text) for text in texts], dtype=np.int64)
        packed[name] = PackedSplit(images=images, targets=targets, name=name)
    return packed


def config(tmp_path, model="ctc_small", **changes):
    settings = {
        "model_name": model,
        "loss_type": "ctc" if model.startswith("ctc") else "crossentropy",
        "num_epochs": 4,
        "device": "cpu",
        "seed": 5,
        "output_dir": str(tmp_path),
        "experiment_name": model,
        "use_tensorboard": False,
        **changes,
    }
    return TrainingConfig.from_dict(settings, environment={})


@pytest.mark.parametrize("model", ["ctc_small", "small"])
@pytest.mark.parametrize(
    "training",
    [{}, {"mixed_precision": True}, {"ema_decay": 0.9}],
    ids=["float32", "mixed precision", "moving average"],
)
def test_a_run_stopped_at_any_epoch_and_resumed_is_bit_equal(tmp_path, splits, model, training):
    states = {}

    def keep(metrics, folder):
        if folder is None:  # what was known before the interruption is reported again
            assert len(metrics["history"]) == metrics["epoch"] - 1
            return
        states[metrics["epoch"]] = torch.load(f"{folder}/state.pt", weights_only=True)

    settings = config(tmp_path, model, scheduler_type="cosine", warmup_epochs=1, **training)
    train_from_config(settings, splits, report=keep)
    whole = dict(states)
    for stopped_at in (1, 3):
        torch.save(whole[stopped_at], tmp_path / "state.pt")
        states.clear()
        train_from_config(settings, splits, report=keep, resume_from=tmp_path)
        assert list(states) == list(range(stopped_at + 1, 5))
        assert_equal(states[4]["model_state_dict"], whole[4]["model_state_dict"])
        for ours, theirs in zip(
            states[4]["training_history"], whole[4]["training_history"], strict=True
        ):
            timeless = [name for name in ours if name.startswith(("train_", "val_", "learning"))]
            assert [ours[name] for name in timeless] == [theirs[name] for name in timeless]


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def test_a_report_has_every_column_and_the_running_best(tmp_path, splits):
    rows = []
    train_from_config(config(tmp_path), splits, report=lambda row, folder: rows.append(row))
    best_so_far = {"best_epoch", "best_score", "best_val_char_accuracy", "best_val_seq_accuracy"}
    needed = {"epoch", *FIGURES, *best_so_far}
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert all(needed <= row.keys() for row in rows)
    best = [row["best_val_char_accuracy"] for row in rows]
    assert best == sorted(best) and best[-1] == max(row["val_char_accuracy"] for row in rows)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_results_and_the_best_checkpoint_tell_the_same_epoch(tmp_path, splits, ema_decay):
    settings = config(tmp_path, ema_decay=ema_decay)
    results = train_from_config(settings, splits)
    path = tmp_path / "ctc_small" / "checkpoints" / "best_model.pt"
    state = torch.load(path, weights_only=True)
    assert state["epoch"] == results["best_epoch"]
    model, restored = load_reader(path)
    assert restored == settings
    loaders = create_data_loaders(settings, splits=splits)
    figures = OCRTrainer(model, *loaders, settings, "cpu")._validate_epoch()
    assert figures["char_accuracy"] == pytest.approx(results["best_val_char_accuracy"])
    assert figures["loss"] == pytest.approx(results["best_val_loss"], rel=0.2)


def test_the_best_model_is_there_whatever_a_callback_does_and_wherever_it_continues(
    tmp_path, splits
):
    class Breaks(Callback):
        def on_epoch_end(self, trainer, epoch, metrics):
            if epoch == 1:
                raise OSError("no room")

    learning = {"learning_rate": 0.01, "early_stopping_monitor": "val_loss"}
    settings = config(tmp_path, early_stopping_mode="min", **learning)
    with pytest.raises(ExperimentFailedError):
        train_from_config(settings, splits, callbacks=[Breaks()])
    checkpoints = tmp_path / "ctc_small" / "checkpoints"
    best = torch.load(checkpoints / "best_model.pt", weights_only=True)
    state = checkpoints / "checkpoint_epoch_0002.pt"
    assert best["epoch"] == 1 + torch.load(state)["callbacks"]["BestWeights"]["best_epoch"]
    elsewhere = dataclasses.replace(settings, output_dir=str(tmp_path / "elsewhere"), num_epochs=2)
    train_from_config(elsewhere, splits, resume_from=state)
    there = tmp_path / "elsewhere" / "ctc_small" / "checkpoints" / "best_model.pt"
    assert torch.load(there, weights_only=True)["epoch"] == best["epoch"]


def test_a_reader_of_more_positions_than_any_string_needs_is_trained_and_measured(tmp_path, splits):
    settings = config(tmp_path, "small", max_sequence_length=12, num_epochs=1)
    results = train_from_config(settings, splits)
    model, _ = load_reader(tmp_path / "small" / "checkpoints" / "best_model.pt")
    assert model(torch.zeros(1, 1, 64, 128)).shape == (1, 12, 13)
    figures = measure(model, splits["val"]).compute()
    assert figures["char_accuracy"] == pytest.approx(results["best_val_char_accuracy"])


@pytest.mark.parametrize(("loss", "kind"), [("ctc", "ctc"), ("crossentropy", "attention")])
def test_a_model_that_does_not_say_how_it_is_read_is_read_as_it_was_trained(
    tmp_path, splits, monkeypatch, loss, kind
):
    class Silent(nn.Module):
        def __init__(self):
            super().__init__()
            self.reader = create_model("ctc_small" if kind == "ctc" else "small")

        def forward(self, images):
            return self.reader(images)

    monkeypatch.setattr(ModelRegistry, "_factories", {"silent": Silent})
    settings = config(tmp_path, "silent", loss_type=loss, learning_rate=0.01)
    results = train_from_config(settings, splits)
    model, _ = load_reader(tmp_path / "silent" / "checkpoints" / "best_model.pt")
    assert model.kind == kind
    figures = measure(model, splits["val"]).compute()
    assert figures["cer"] == pytest.approx(results["best_val_cer"])


def test_training_again_continues_where_it_ended(tmp_path, splits):
    settings = config(tmp_path, num_epochs=1)
    trainer = OCRTrainer(
        create_model("ctc_small"), *create_data_loaders(settings, splits=splits), settings, "cpu"
    )
    assert [row["epoch"] for row in trainer.train()["training_history"]] == [1]
    settings.num_epochs = 2
    assert [row["epoch"] for row in trainer.train()["training_history"]] == [1, 2]


def test_a_run_leaves_its_files_where_they_are_looked_for(tmp_path, splits):
    train_from_config(config(tmp_path, use_tensorboard=True, save_every_n_epochs=2), splits)
    folder = tmp_path / "ctc_small"
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints",
        "config.yaml",
        "logs",
        "tensorboard",
    }
    assert len((folder / "logs" / "training.log").read_text().splitlines()) == 4
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) >= FIGURES
    numbered = sorted(path.name for path in (folder / "checkpoints").glob("checkpoint*"))
    assert numbered == ["checkpoint_epoch_0002.pt", "checkpoint_epoch_0004.pt"]


def test_early_stopping_ends_a_run_that_learns_nothing(tmp_path, splits):
    settings = config(
        tmp_path, num_epochs=9, learning_rate=1e-12, min_lr=0.0, early_stopping_patience=2
    )
    results = train_from_config(settings, splits)
    assert results["stop_reason"] == "early_stopping"
    assert results["total_epochs"] < 9


def test_validation_is_never_augmented_and_training_is(tmp_path, splits):
    settings = config(tmp_path)
    train_loader, val_loader = create_data_loaders(settings, splits=splits)
    trainer = OCRTrainer(create_model("ctc_small"), train_loader, val_loader, settings, "cpu")
    loop = trainer.loop
    loop._generator = torch.Generator().manual_seed(0)
    batch = next(iter(val_loader))
    loop.model.eval()
    assert torch.equal(loop._prepare_batch(batch)[0], batch[0])
    loop.model.train()
    assert not torch.equal(loop._prepare_batch(batch)[0], batch[0])


def test_errors_and_the_confusion_matrix_come_from_the_validation_split(tmp_path, splits):
    settings = config(tmp_path)
    loaders = create_data_loaders(settings, splits=splits)
    trainer = OCRTrainer(create_model("ctc_small"), *loaders, settings, "cpu")
    picture = tmp_path / "confusion.png"
    matrix = trainer.generate_confusion_matrix(picture)
    assert matrix.shape == (10, 10)
    assert picture.read_bytes().startswith(b"\x89PNG")
    targets = torch.tensor([encode("12"), encode("3")])
    assert trainer._decode_predictions(targets) == ["១២", "៣"]
    assert trainer._calculate_metrics(targets, targets)["seq_accuracy"] == 1.0
    assert trainer._analyze_errors(targets, targets)["errors"] == 0


def test_a_state_of_another_model_is_refused(tmp_path, splits):
    saved = []

    def keep(row, folder):
        saved.append(torch.load(f"{folder}/state.pt", weights_only=True))

    train_from_config(config(tmp_path, num_epochs=1), splits, report=keep)
    torch.save(saved[0], tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="another model"):
        train_from_config(config(tmp_path, "small"), splits, resume_from=tmp_path)


def test_a_field_that_was_assigned_wrongly_is_found(tmp_path, splits):
    settings = config(tmp_path)
    settings.batch_size = 0
    with pytest.raises(ConfigurationError, match="batch_size"):
        train_from_config(settings, splits)


def test_the_base_trainer_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        BaseTrainer(None, None, None, TrainingConfig(), "cpu")


def test_a_report_that_ends_the_run_finds_the_best_model_of_its_epoch_saved(tmp_path, splits):
    class Enough(BaseException):
        pass

    def stop(metrics, folder):
        raise Enough

    settings = config(tmp_path)
    with pytest.raises(Enough):
        train_from_config(settings, splits, report=stop)
    path = tmp_path / settings.experiment_name / "checkpoints" / "best_model.pt"
    assert torch.load(path, weights_only=True)["epoch"] == 1
