"""What trials know of their models, wherever they run."""

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.models import ModelRegistry
from raytune_ocr.training import create_model_from_config
from raytune_ocr.training.model_config import without_model_file

FILE = """
dropout: 0.25
ctc: {dilations: [1, 2]}
small: {channels: [8, 8]}
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A config whose file of model settings is named by a relative path."""
    (tmp_path / "arch.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return TrainingConfig(
        model_name="ctc_small",
        loss_type="ctc",
        model_config_path="arch.yaml",
        model_options={"dropout": 0.5},
    )


def test_a_config_carries_what_its_file_of_model_settings_says(elsewhere):
    config = without_model_file(elsewhere)
    assert config.model_config_path == ""
    assert config.model_options == {"dropout": 0.5, "dilations": [1, 2]}  # the nearer one wins


def test_a_flag_of_the_config_wins_over_the_file_as_where_the_model_is_made(elsewhere, tmp_path):
    (tmp_path / "arch.yaml").write_text("gradient_checkpointing: false")
    values = {**elsewhere.to_dict(), "gradient_checkpointing": True}
    config = without_model_file(TrainingConfig.from_dict(values))
    assert create_model_from_config(config).config["gradient_checkpointing"] is True


def test_a_model_of_ones_own_is_reported_where_the_file_is(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setitem(ModelRegistry._factories, "theirs", lambda config_path: None)
    values = {**elsewhere.to_dict(), "model_name": "theirs"}
    config = without_model_file(TrainingConfig.from_dict(values))
    assert config.model_config_path == str(tmp_path / "arch.yaml")
    assert config.model_options == {"dropout": 0.5}


def test_a_config_without_such_a_file_is_left_alone():
    config = TrainingConfig(model_name="small")
    assert without_model_file(config) is config
