"""What a subclass of the documented trainers may bring of its own, and that it is used."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import CrossEntropyLoss, CTCLoss, FocalLoss, OCRMetrics, OCRTrainer
from raytune_ocr.training.checkpoints.state_files import read_state
from raytune_ocr.vocabulary import DEFAULT_CHAR_TO_IDX, DIGITS, encode


class Net(nn.Module):
    """Reads nothing: logits [B, L, C] of its own."""

    def __init__(self, classes=13, positions=9):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(positions, classes))

    def forward(self, images):
        return self.logits.expand(len(images), -1, -1)


def batches(targets=None):
    images = torch.zeros(8, 1, 4, 4, dtype=torch.uint8)
    if targets is None:
        targets = torch.tensor([encode("12")] * 8)
    return DataLoader(TensorDataset(images, targets), 4)


def trainer(tmp_path, kind=OCRTrainer, model=None, targets=None, **options):
    config = TrainingConfig(
        model_name="net",
        device="cpu",
        num_epochs=3,
        augmentation=False,
        learning_rate=0.1,
        use_tensorboard=False,
        output_dir=str(tmp_path),
    )
    loader = batches(targets)
    return kind(model or Net(), loader, loader, config, "cpu", **options)


def of_predictions(predictions, targets):
    return functional.cross_entropy(predictions.flatten(0, 1), targets.flatten())


def in_a_mapping(predictions, targets):
    return {"loss": of_predictions(predictions, targets), "other": torch.tensor(1.0)}


@pytest.mark.parametrize(
    "own", [CrossEntropyLoss(), FocalLoss(), nn.CrossEntropyLoss(), of_predictions, in_a_mapping]
)
def test_a_loss_function_of_a_subclass_is_what_is_trained(tmp_path, own):
    class Custom(OCRTrainer):
        def _create_loss_function(self):
            return own

    losses = [row["train_loss"] for row in trainer(tmp_path, Custom).train()["training_history"]]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_passes_that_a_subclass_overrides_are_called_by_train(tmp_path):
    class Custom(OCRTrainer):
        calls = ()

        def _train_epoch(self):
            self.calls += ("train",)
            return {**super()._train_epoch(), "extra": 1.5}

        def _validate_epoch(self):
            self.calls += ("validate",)
            return {"loss": 0.5 - 0.1 * self.current_epoch, "char_accuracy": 0.5}

    instance = trainer(tmp_path, Custom)
    results = instance.train()
    assert instance.calls == ("train", "validate") * 3
    assert [row["train_extra"] for row in results["training_history"]] == [1.5] * 3
    assert [row["val_loss"] for row in results["training_history"]] == [0.5, 0.4, 0.3]
    assert results["best_val_loss"] == 0.3
    assert results["final_train_loss"] == results["training_history"][-1]["train_loss"]


def test_a_training_pass_without_the_loop_is_measured_as_it_says(tmp_path):
    class Custom(OCRTrainer):
        def _train_epoch(self):
            for images, targets in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.loss_fn(self.model(images), targets)["loss"]
                loss.backward()
                self.optimizer.step()
            return {"loss": loss.item()}

    history = trainer(tmp_path, Custom).train()["training_history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert np.isnan(history[0]["images_per_second"])
    assert history[-1]["val_char_accuracy"] == 1.0


def test_a_shorter_training_in_one_folder_leaves_its_own_checkpoints(tmp_path):
    long, short = trainer(tmp_path), trainer(tmp_path)
    long.config.num_epochs, long.config.save_every_n_epochs = 6, 1
    long.train()
    short.config.num_epochs, short.config.save_every_n_epochs = 2, 1
    short.config.keep_n_checkpoints = 1
    short.checkpoints.keep_n_checkpoints = 1
    short.train()
    (left,) = short.checkpoints.list_checkpoints()
    assert read_state(left)["epoch"] == 2


def test_characters_of_a_vocabulary_are_used(tmp_path):
    latin = {**DEFAULT_CHAR_TO_IDX, **{str(i): i for i in range(10)}}
    latin = {char: index for char, index in latin.items() if char not in DIGITS}
    instance = trainer(tmp_path, char_to_idx=latin)
    assert instance._decode_predictions(torch.tensor([encode("12")])) == ["12"]


def test_special_tokens_of_a_vocabulary_reach_the_loss_and_the_metrics(tmp_path):
    letters = {chr(ord("a") + index): index + 3 for index in range(20)}
    tokens = {"<EOS>": 0, "<PAD>": 1, "<BLANK>": 2}
    targets = torch.tensor([[22, 12, 0, 1, 1]] * 8)
    instance = trainer(tmp_path, model=Net(23, 5), targets=targets, char_to_idx=letters | tokens)
    main = instance.loss_fn.main
    assert (main.pad_token_id, main.eos_token_id) == (1, 0)
    assert instance.loss_fn.ctc.blank_token_id == 2
    history = instance.train()["training_history"]
    assert history[-1]["val_seq_accuracy"] == 1.0
    assert instance._decode_predictions(targets)[0] == "tj"
    assert instance.generate_confusion_matrix().shape == (20, 20)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({**DEFAULT_CHAR_TO_IDX, "<EOS>": 13}, "char_to_idx: must give ten digits the ids 0 to 9"),
        ({"a": 0, "b": 1}, "char_to_idx: must give ten digits"),
        ({"a": 0, "b": 0}, "char_to_idx: must give each character a different id"),
        ({"a": 10}, "<EOS>: must have a different id"),
    ],
)
def test_a_vocabulary_that_contradicts_the_model_is_refused(tmp_path, mapping, message):
    from raytune_ocr.models import create_model

    with pytest.raises(ConfigurationError, match=message):
        trainer(tmp_path, model=create_model("small"), char_to_idx=mapping)


def test_metrics_of_a_subclass_need_no_vocabulary(tmp_path):
    class Mean:
        def reset(self):
            self.seen = []

        def update(self, predictions, targets):
            self.seen.append(predictions.detach().mean())

        def compute(self):
            return {"char_accuracy": float(np.mean(self.seen))}

    class Custom(OCRTrainer):
        def _create_metrics_calculator(self):
            return Mean()

    assert len(trainer(tmp_path, Custom).train()["training_history"]) == 3
    assert isinstance(trainer(tmp_path).metrics, OCRMetrics)


def test_the_ctc_loss_of_a_subclass_is_what_is_trained(tmp_path):
    class Custom(OCRTrainer):
        def _create_loss_function(self):
            return CTCLoss()

    history = trainer(tmp_path, Custom, model=Net(13, 20)).train()["training_history"]
    losses = [row["train_loss"] for row in history]
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def test_the_config_decides_which_checkpoints_a_training_leaves(tmp_path):
    config = TrainingConfig(
        model_name="net",
        device="cpu",
        num_epochs=7,
        save_every_n_epochs=2,
        keep_n_checkpoints=2,
        augmentation=False,
        use_tensorboard=False,
        output_dir=str(tmp_path),
    )
    instance = OCRTrainer(Net(), batches(), batches(), config, "cpu")
    instance.train()
    left = [read_state(path)["epoch"] for path in instance.checkpoints.list_checkpoints()]
    assert left == [6, 7]  # of 2, 4, 6 and the last one


def test_each_epoch_tells_the_number_of_parameters_of_the_model(tmp_path):
    history = trainer(tmp_path).train()["training_history"]
    assert {row["model_parameters"] for row in history} == {9 * 13}
