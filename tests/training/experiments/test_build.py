"""The experiment trainer of a config: which transforms can be drawn anew."""

import logging

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import BaseDataset, DatasetRegistry
from raytune_ocr.data.datasets.base import ImageDataset
from raytune_ocr.training import ExperimentManager
from raytune_ocr.training.experiments.build import can_reapply, create_experiment_trainer
from tests.fixtures.materials import draw_photos


class Plain(BaseDataset):
    def get_dataloaders(self, batch_size=32):
        raise NotImplementedError


class Own(Plain):
    def reapply_transforms(self, epoch):
        """Draws something."""


class Pictures(ImageDataset):
    def _read(self):
        raise NotImplementedError


def test_a_dataset_draws_transforms_anew_if_it_has_some():
    assert can_reapply(Own()) and can_reapply(Pictures(augmentation=True))
    assert not can_reapply(Plain()) and not can_reapply(Pictures(augmentation=False))
    assert not can_reapply(DatasetRegistry.create("khmer_digits", composed=8, augmentation=True))


@pytest.mark.parametrize("augmentation", [True, False])
def test_reapplying_where_nothing_can_be_reapplied_says_so(tmp_path, caplog, augmentation):
    draw_photos(tmp_path)
    config = TrainingConfig(
        model_name="image_classifier",
        dataset_name="image_folder",
        metadata_path=str(tmp_path / "photos"),
        early_stopping_monitor="val_accuracy",
        augmentation=augmentation,
        device="cpu",
    )
    caplog.set_level(logging.WARNING)
    create_experiment_trainer(
        config, lambda: ExperimentManager(tmp_path / "runs"), reapply_transforms=True
    )
    found = (
        "--reapply-transforms has no effect: the dataset 'image_folder' has no random transforms"
    )
    assert (found in caplog.text) is not augmentation
