"""Numbered experiment folders: resume, fork, logs, and the documented quick start."""

import math
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import yaml
from torch import nn, optim
from torch.utils.data import DataLoader, IterableDataset

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import (
    CheckpointError,
    DivergenceError,
    ExperimentFailedError,
)
from raytune_ocr.training import (
    CheckpointManager,
    ExperimentManager,
    ExperimentTrainer,
    MetricsTracker,
)
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback
from raytune_ocr.training.callbacks.epoch_log import read_epoch_log
from raytune_ocr.training.checkpoints.checkpoint import read_state
from tests.fixtures.trainers import experiment


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_the_quick_start_runs_as_it_stands(tmp_path, monkeypatch):
    from PIL import Image

    for number in range(20):
        file = tmp_path / "data" / "images" / ("dark", "light")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.new("L", (20, 20), 128)
        picture.paste(255 * (number % 2), (4, 4 + number % 5, 16, 12))
        picture.save(file)
    monkeypatch.chdir(tmp_path)

    from raytune_ocr.data import DatasetRegistry
    from raytune_ocr.models import ModelRegistry
    from raytune_ocr.training import CheckpointManager, get_device
    from raytune_ocr.training import ExperimentTrainer as Trainer

    device = get_device()
    dataset = DatasetRegistry.create("image_folder")
    train_loader, val_loader = dataset.get_dataloaders(batch_size=64)
    model = ModelRegistry.create("mynet", num_classes=10).to(device)
    experiment_manager = ExperimentManager(base_dir="runs")
    checkpoint_manager = CheckpointManager(
        checkpoints_dir=experiment_manager.checkpoints_dir, save_frequency=1
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)
    trainer = Trainer(
        model=model,
        train_loader=train_loader,
        val_loader=val_loader,
        criterion=criterion,
        optimizer=optimizer,
        device=device,
        experiment_manager=experiment_manager,
        checkpoint_manager=checkpoint_manager,
        patience=5,  # Early stopping
    )
    results = trainer.train(epochs=3)
    assert 0 <= results["best_accuracy"] <= 100
    assert results["training_time"] > 0
    assert (results["epochs_trained"], results["stopped_early"]) == (3, False)
    assert results["experiment_dir"] == "runs/exp1"
    assert 1 <= results["best_epoch"] <= 3
    assert {"train_loss", "val_loss", "train_accuracy", "val_accuracy"} <= results["history"].keys()

    is_best = checkpoint_manager.save_best_model(model, optimizer, 10, 0.5, 100.5)
    assert is_best
    checkpoint_manager.save_checkpoint(
        model=model, optimizer=optimizer, epoch=10, loss=0.5, accuracy=85.0, filepath="epoch_10.pt"
    )
    info = checkpoint_manager.load_checkpoint(
        "runs/exp1/checkpoints/latest_checkpoint.pt", model, optimizer, strict=False
    )
    assert info["fully_restored"]
    assert info["loaded_layers"] == info["total_layers"] > 0
    assert info["epoch"] == 3
    state = checkpoint_manager.load_checkpoint("epoch_10.pt")
    assert state["model_config"] == {"name": "mynet", "num_classes": 10}
    assert (state["loss"], state["accuracy"]) == (0.5, 85.0)


def test_a_resumed_experiment_is_bit_equal_to_one_that_was_not_stopped(tmp_path):
    whole = experiment(tmp_path / "whole")
    expected = whole.train(6)
    experiment(tmp_path / "parts").train(3)
    second = experiment(tmp_path / "parts", resume="exp1")
    torch.rand(5)
    results = second.train(6)
    assert torch.equal(weights(second), weights(whole))
    for name in ("train_loss", "val_loss", "val_accuracy", "learning_rate"):
        assert results["history"][name] == expected["history"][name]
    assert results["epochs_trained"] == 3
    assert results["best_epoch"] == expected["best_epoch"]
    assert len(read_epoch_log(tmp_path / "parts" / "exp1" / "training.log")["val_loss"]) == 6


def test_a_resume_in_the_middle_of_the_patience_stops_at_the_same_epoch(tmp_path):
    whole = experiment(tmp_path / "whole", learning_rate=0.0, patience=3).train(20)
    assert (whole["epochs_trained"], whole["stopped_early"]) == (4, True)
    experiment(tmp_path / "parts", learning_rate=0.0, patience=3).train(3)
    second = experiment(tmp_path / "parts", learning_rate=0.0, patience=3, resume="exp1")
    results = second.train(20)
    assert (results["epochs_trained"], results["stopped_early"]) == (1, True)
    assert second.epochs_without_improvement == 3


def test_another_figure_may_stop_it_early_and_the_best_is_the_most_accurate_still(tmp_path):
    stop = EarlyStoppingCallback("val_loss", patience=2, min_delta=100.0)
    trainer = experiment(tmp_path, early_stopping=stop)
    results = trainer.train(9)
    assert (results["epochs_trained"], results["stopped_early"]) == (3, True)
    accuracies = results["history"]["val_accuracy"]
    best = max(accuracies)
    assert (results["best_accuracy"], results["best_epoch"]) == (best, accuracies.index(best) + 1)
    kept = trainer.checkpoint_manager.load_best_model()
    assert (kept["accuracy"], kept["epoch"]) == (best, results["best_epoch"])


def test_a_config_that_is_given_stands_in_every_checkpoint(tmp_path):
    config = TrainingConfig(model_name="net", changes=[{"after_epoch": 1, "learning_rate": 0.1}])
    trainer = experiment(tmp_path, config=config)
    trainer.train(2)
    paths = sorted(Path(trainer.experiment_manager.checkpoints_dir).iterdir())
    assert [path.name for path in paths] == [
        "best_model.pt",
        "checkpoint_epoch_0002.pt",
        "latest_checkpoint.pt",
    ]
    for path in paths:
        assert TrainingConfig.from_dict(read_state(path)["config"], environment={}) == config


def test_a_crash_between_two_files_costs_one_epoch_and_no_bit(tmp_path, monkeypatch):
    whole = experiment(tmp_path / "whole")
    whole.train(5)
    broken = experiment(tmp_path / "parts")
    save = CheckpointManager.save_latest_checkpoint

    def crash_in_the_third_epoch(manager, model, optimizer, epoch, *rest):
        if epoch == 3:
            raise KeyboardInterrupt
        return save(manager, model, optimizer, epoch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointManager, "save_latest_checkpoint", crash_in_the_third_epoch)
        with pytest.raises(KeyboardInterrupt):
            broken.train(5)
    # The log and perhaps the best model know the third epoch, the latest checkpoint does not.
    second = experiment(tmp_path / "parts", resume="exp1")
    results = second.train(5)
    assert results["epochs_trained"] == 3
    assert torch.equal(weights(second), weights(whole))
    assert second.best_accuracy == whole.best_accuracy
    log = read_epoch_log(second.experiment_manager.log_file)
    assert log["val_loss"] == pytest.approx(whole.history["val_loss"], rel=1e-5)


def test_training_again_continues_until_so_many_epochs_are_done_in_all(tmp_path):
    trainer = experiment(tmp_path)
    trainer.train(2)
    assert trainer.train(3)["epochs_trained"] == 1
    assert len(trainer.history["val_loss"]) == 3
    assert len(read_epoch_log(trainer.experiment_manager.log_file)["val_loss"]) == 3
    assert trainer.train(3, start_epoch=3)["epochs_trained"] == 0


def test_an_experiment_that_was_begun_at_a_later_epoch_can_be_resumed(tmp_path):
    assert experiment(tmp_path).train(4, start_epoch=2)["epochs_trained"] == 2
    resumed = experiment(tmp_path, resume="exp1")
    assert resumed.train(5)["epochs_trained"] == 1
    assert resumed.load_history_from_log() == 5


def test_a_damaged_latest_checkpoint_is_passed_over(tmp_path):
    experiment(tmp_path).train(4)
    latest = tmp_path / "exp1" / "checkpoints" / "latest_checkpoint.pt"
    latest.write_bytes(latest.read_bytes()[:-500])
    second = experiment(tmp_path, resume="exp1")
    assert second.train(5)["epochs_trained"] == 1


def test_a_fork_has_the_weights_its_own_history_and_its_parent_recorded(tmp_path):
    parent = experiment(tmp_path)
    parent.train(3)
    fork = experiment(tmp_path, fork="exp1", learning_rate=0.0)
    results = fork.train(1)
    assert torch.equal(weights(fork), weights(parent))
    assert results["experiment_dir"] == str(tmp_path / "exp2")
    assert len(results["history"]["val_loss"]) == 1
    assert yaml.safe_load((tmp_path / "exp2" / "config.yaml").read_text())["parent"] == "exp1"
    assert len(read_epoch_log(tmp_path / "exp1" / "training.log")["val_loss"]) == 3


def test_a_fork_into_another_model_loads_what_fits_and_says_so(tmp_path, caplog):
    experiment(tmp_path).train(1)
    caplog.set_level("INFO")
    experiment(tmp_path, fork="exp1", hidden=8).train(1)
    assert "1 of 4 layers loaded" in caplog.text  # the last bias alone has the same shape
    assert "0.weight" in caplog.text


def test_a_strict_load_of_another_model_changes_nothing_and_names_the_layers(tmp_path):
    first = experiment(tmp_path)
    first.train(1)
    other = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3))
    before = other[3].bias.clone()
    path = first.checkpoint_manager.latest_path
    with pytest.raises(CheckpointError, match=r"do not match: 0\.weight, 0\.bias, 3\.weight;"):
        first.checkpoint_manager.load_checkpoint(path, other)
    assert torch.equal(before, other[3].bias)
    report = first.checkpoint_manager.load_checkpoint(path, other, strict=False)
    assert (report["fully_restored"], report["loaded_layers"], report["total_layers"]) == (
        False,
        1,
        4,
    )


def test_checkpoints_are_best_latest_and_one_in_every_save_frequency(tmp_path):
    trainer = experiment(tmp_path)
    trainer.train(5)
    manager = trainer.checkpoint_manager
    assert [path.name for path in manager.list_checkpoints()] == [
        "checkpoint_epoch_0002.pt",
        "checkpoint_epoch_0004.pt",
    ]
    assert manager.load_checkpoint(manager.latest_path)["epoch"] == 5
    best = manager.load_best_model()
    assert best["accuracy"] == trainer.best_accuracy == max(trainer.history["val_accuracy"])
    assert best["epoch"] == trainer.best_epoch


def test_a_best_model_is_not_replaced_by_a_worse_one_of_a_later_process(tmp_path):
    model = nn.Linear(2, 2)
    assert CheckpointManager(tmp_path).save_best_model(model, None, 1, 0.1, 90.0)
    later = CheckpointManager(tmp_path)
    assert not later.save_best_model(model, None, 2, 0.1, 80.0)
    assert not later.save_best_model(model, None, 2, 0.1, float("nan"))
    assert later.load_best_model()["epoch"] == 1


def test_transforms_are_drawn_anew_before_every_epoch(tmp_path):
    class Noted:
        epochs: ClassVar = []

        def reapply_transforms(self, epoch):
            self.epochs.append(epoch)

    experiment(tmp_path, dataset=Noted()).train(2)
    experiment(tmp_path, dataset=Noted(), resume="exp1").train(3)
    assert Noted.epochs == [0, 1, 2, 2, 3]


def test_one_epoch_and_one_validation_can_be_had_alone(tmp_path):
    trainer = experiment(tmp_path)
    metrics, speed = trainer.train_epoch(0)
    assert {"loss", "accuracy"} <= metrics.keys()
    assert speed > 0
    metrics, speed = trainer.validate()
    assert 0 <= metrics["accuracy"] <= 100
    assert speed > 0


def test_a_callback_that_raises_is_named_and_the_epoch_is_saved(tmp_path):
    def faulty(loop, epoch, metrics):
        if epoch == 1:
            raise KeyError("x")

    with pytest.raises(ExperimentFailedError, match=r"'faulty' raised in epoch 2: KeyError"):
        experiment(tmp_path, callbacks=[faulty]).train(4)
    whole = experiment(tmp_path / "whole")
    whole.train(4)
    second = experiment(tmp_path, resume="exp1")
    assert second.train(4)["epochs_trained"] == 2
    assert torch.equal(weights(second), weights(whole))


def test_a_loss_that_is_nan_keeps_the_last_good_checkpoint(tmp_path):
    trainer = experiment(tmp_path)
    trainer.train(2)
    good = weights(trainer).clone()
    second = experiment(tmp_path, resume="exp1")
    second.loop.loss_fn = lambda outputs, labels: outputs.sum() * float("nan")
    with pytest.raises(DivergenceError, match=r"epoch 3, step 1, at learning rate 0\.005"):
        second.train(4)
    state = second.checkpoint_manager.load_latest()
    assert state["epoch"] == 2
    third = experiment(tmp_path, resume="exp1")
    third.train(2)
    assert torch.equal(weights(third), good)


def test_the_metrics_tracker_tells_percent():
    tracker = MetricsTracker()
    logits = torch.eye(4)
    tracker.update(1.0, logits, torch.tensor([0, 1, 2, 0]))
    tracker.update(3.0, logits[:1], torch.tensor([0]))
    metrics = tracker.get_metrics()
    assert metrics == {"loss": pytest.approx(1.4), "accuracy": 80.0, "total_samples": 5}
    tracker.reset()
    with pytest.raises(ValueError, match="no sample"):
        tracker.get_metrics()


def test_an_experiment_writes_its_config_file_by_itself(tmp_path):
    trainer = experiment(tmp_path, patience=2)
    trainer.train(2)
    written = yaml.safe_load(Path(trainer.experiment_manager.config_file).read_text())
    assert written == {
        "batch_size": 16,
        "num_epochs": 2,
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "optimizer_type": "adamw",
        "early_stopping_patience": 2,
        "early_stopping_monitor": "val_accuracy",
        "device": "cpu",
    }
    TrainingConfig.from_dict(written, environment={})
    experiment(tmp_path, fork="exp1", learning_rate=0.5).train(1)
    of_fork = yaml.safe_load((tmp_path / "exp2" / "config.yaml").read_text())
    assert (of_fork["parent"], of_fork["learning_rate"]) == ("exp1", 0.5)


def test_a_config_file_that_is_there_stays_as_it_is(tmp_path):
    trainer = experiment(tmp_path)
    trainer.experiment_manager.save_config({"model_name": "net", "seed": 3})
    trainer.train(1)
    written = yaml.safe_load(Path(trainer.experiment_manager.config_file).read_text())
    assert written == {"model_name": "net", "seed": 3}


def test_an_epoch_and_a_validation_that_a_subclass_overrides_are_called_by_train(tmp_path):
    class Custom(ExperimentTrainer):
        def train_epoch(self, epoch):
            metrics, speed = super().train_epoch(epoch)
            return {**metrics, "extra": epoch}, speed

        def validate(self):
            return {"loss": 0.5, "accuracy": 40.0 + self.loop.epoch}, 1.0

    plain = experiment(tmp_path)
    trainer = Custom(
        plain.model,
        plain.train_loader,
        plain.val_loader,
        nn.CrossEntropyLoss(),
        plain.loop.optimizer,
        "cpu",
        plain.experiment_manager,
    )
    results = trainer.train(2)
    assert results["history"]["train_extra"] == [0, 1]
    assert results["history"]["val_accuracy"] == [40.0, 41.0]
    assert (results["best_accuracy"], results["best_epoch"]) == (41.0, 2)


def test_a_loader_that_does_not_know_its_length_trains(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            for index in range(32):
                yield torch.full((6,), float(index)), index % 3

    trainer = experiment(tmp_path)
    trainer.train_loader = DataLoader(Stream(), 8)
    assert trainer.train(1)["epochs_trained"] == 1
    assert math.isnan(trainer.train_epoch(1)[1])
