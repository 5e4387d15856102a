"""How the winner reads the test split, and how sure its figures of validation are."""

from pathlib import Path

import pytest

from raytune_ocr.config.training_config import DEFAULT_METADATA_PATH, TrainingConfig
from raytune_ocr.data import create_dataset, generate_dataset
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.statistics import wilson
from raytune_ocr.tasks.reader_test_split import read_test_split
from raytune_ocr.training import train_from_config


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Trains a moment on a small set in the place of the default one; the trial's record."""
    monkeypatch.chdir(tmp_path)
    generate_dataset(Path(DEFAULT_METADATA_PATH).parent, sizes={"train": 16, "val": 8, "test": 4})

    def train(**options):
        config = TrainingConfig(
            model_name="ctc_small",
            loss_type="ctc",
            num_epochs=1,
            output_dir=str(tmp_path),
            dataset_options=options,
            use_tensorboard=False,
        )
        train_from_config(config)
        record = TrialRecord(config, status="completed")
        row = {"epoch": 1, "val_char_accuracy": 0.75, "val_seq_accuracy": 0.5}
        record.add({**row, "train_loss": 1.0, "seconds": 1.0})
        return record

    return train


@pytest.mark.parametrize(
    ("options", "images"),
    [({}, 8), ({"composed": 16}, 8), ({"composed": 16, "composed_val": 24}, 24)],
)
def test_intervals_of_validation_are_those_of_as_many_images_as_were_validated_on(
    options, images, trained
):
    record = trained(**options)
    _, loader = create_dataset(record.config).loaders(record.config)
    assert len(loader.dataset) == images
    output = read_test_split(record.config, record.checkpoint, record.best)
    assert output["test_images"] == 4
    assert output["best_val_seq_accuracy_interval"] == list(wilson(images // 2, images))
    digits = loader.dataset.packed.digits
    right = round(0.75 * digits)
    assert output["best_val_char_accuracy_interval"] == list(wilson(right, digits))
