"""Models from checkpoints: no module is imported only because a file names it."""

import sys

import pytest
from PIL import Image

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import CheckpointError, ConfigurationError, IncompleteCheckpointError
from raytune_ocr.models import ModelRegistry, create_model
from raytune_ocr.predict import main as predict
from raytune_ocr.training import load_reader
from raytune_ocr.training.checkpoints.state_files import write_state

MODULE = """
from pathlib import Path
from raytune_ocr.models import ModelRegistry, create_model

Path("imported").touch()

@ModelRegistry.register("net_of_a_sender")
def net():
    return create_model("ctc_small")
"""


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A reader of a registered model, and the module beside it that registers the model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ModelRegistry, "_factories", dict(ModelRegistry._factories))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "module_of_a_sender.py").write_text(MODULE)
    config = TrainingConfig(
        model_name="net_of_a_sender", loss_type="ctc", imports=["module_of_a_sender"]
    )
    model = create_model("ctc_small")
    write_state("best.pt", {"model_state_dict": model.state_dict(), "config": config.to_dict()})
    yield tmp_path / "best.pt"
    sys.modules.pop("module_of_a_sender", None)


def test_a_module_that_a_checkpoint_names_is_not_imported_and_the_option_is_reported(checkpoint):
    with pytest.raises(ConfigurationError) as raised:
        load_reader(checkpoint)
    assert "best.pt: needs the modules" in str(raised.value)
    assert "--import module_of_a_sender" in str(raised.value)
    assert not (checkpoint.parent / "imported").exists()


def test_a_module_that_the_caller_names_is_imported(checkpoint):
    model, config = load_reader(checkpoint, imports=["module_of_a_sender"])
    assert not model.training and config.imports == ["module_of_a_sender"]
    assert (checkpoint.parent / "imported").exists()


def test_a_preset_needs_no_module_whatever_the_checkpoint_names(checkpoint):
    config = TrainingConfig(model_name="ctc_small", loss_type="ctc", imports=["module_of_a_sender"])
    weights = create_model("ctc_small").state_dict()
    write_state(checkpoint, {"model_state_dict": weights, "config": config.to_dict()})
    load_reader(checkpoint)
    assert not (checkpoint.parent / "imported").exists()


def test_a_checkpoint_without_a_config_is_no_reader(tmp_path):
    write_state(tmp_path / "a.pt", {"model_state_dict": {}})
    with pytest.raises(IncompleteCheckpointError, match="has no config beside its weights"):
        load_reader(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("size", "message"),
    [(10**17, "its model cannot be built: "), (10**10, "its weights do not fit")],
)
def test_a_checkpoint_with_other_sizes_than_its_weights_is_refused_without_memory(
    tmp_path, size, message
):
    weights = create_model("ctc_small").state_dict()
    config = TrainingConfig(model_name="ctc_small", loss_type="ctc", vocab_size=size)
    write_state(tmp_path / "a.pt", {"model_state_dict": weights, "config": config.to_dict()})
    with pytest.raises(CheckpointError, match=rf"a\.pt: {message}"):
        load_reader(tmp_path / "a.pt")


def test_predict_reads_with_a_module_that_its_command_line_names(checkpoint, tmp_path, capsys):
    Image.new("L", (128, 64), 200).save(tmp_path / "image.png")
    words = ["best.pt", "image.png"]
    assert predict(words) == 2
    assert "--import module_of_a_sender" in capsys.readouterr().err
    assert predict([*words, "--import", "module_of_a_sender"]) == 0
