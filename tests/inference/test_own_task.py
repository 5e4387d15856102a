import csv
import re

import numpy as np
import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.export import main as export_main
from raytune_ocr.inference.own_task import export_own, find_own
from raytune_ocr.predict import main as predict_main
from raytune_ocr.training.checkpoints.state_files import write_state
from tests.fixtures.own_tasks import example

WIDTH = 4


def checkpoint_of(folder, name, parameters, state, monitor="val_iou"):
    """What a trial of an example has left."""
    example(name)
    config = TrainingConfig(
        experiment_name="best",
        output_dir=str(folder),
        trainable=f"{name}:train",
        imports=[name],
        parameters=parameters,
        early_stopping_monitor=monitor,
        early_stopping_mode="max",
    )
    path = folder / "best" / "checkpoints" / "best_model.pt"
    path.parent.mkdir(parents=True)
    content = {"epoch": 1, "state": state, "config": config.to_dict(), "metrics": {monitor: 0.5}}
    write_state(path, content)
    return path


@pytest.fixture
def segmentation(tmp_path):
    state = {"model": example("segmentation").network(WIDTH).state_dict()}
    return checkpoint_of(tmp_path, "segmentation", {"width": WIDTH}, state)


def test_an_export_has_weights_onnx_config_and_card_and_is_loaded_again(segmentation, tmp_path):
    output = tmp_path / "ship"
    assert export_main([str(segmentation.parents[1]), "--output", str(output)]) == 0
    assert {path.name for path in output.iterdir()} == {
        *("model.safetensors", "model.onnx", "config.yaml", "README.md")
    }
    assert re.search(r"`val_iou` \| 0\.5", (output / "README.md").read_text())
    assert str(tmp_path) not in (output / "config.yaml").read_text()
    pictures = torch.randn(3, 1, 48, 48)
    with torch.inference_mode():
        first, again = (
            find_own(path).load()(pictures) for path in (segmentation, output / "model.safetensors")
        )
    assert torch.equal(first, again)
    from onnxruntime import InferenceSession

    session = InferenceSession(str(output / "model.onnx"))
    (found,) = session.run(None, {session.get_inputs()[0].name: pictures.numpy()})
    assert np.abs(found - first.numpy()).max() < 1e-3


def test_a_task_without_hooks_ships_its_state_and_says_why_there_is_no_more(tmp_path):
    path = checkpoint_of(tmp_path, "language_model", {"width": 4}, {"model": torch.ones(2)})
    model, found = find_own(path), []
    report = export_own(model, tmp_path / "ship", found.append)
    assert report["onnx"] == "not written: the task gives no example_inputs"
    assert "no example_inputs" in found[0]
    assert torch.equal(
        find_own(tmp_path / "ship" / "model.safetensors").state["model"], torch.ones(2)
    )
    with pytest.raises(ConfigurationError, match="must define load_model"):
        model.load()


def test_a_model_that_onnx_cannot_hold_is_exported_without_it(segmentation, tmp_path, monkeypatch):
    module = example("segmentation")
    monkeypatch.setattr(module, "example_inputs", lambda parameters: (torch.zeros(2, 9, 48, 48),))
    report = export_own(find_own(segmentation), tmp_path / "ship", lambda line: None)
    assert report["onnx"].startswith("not written: ") and "model.onnx" not in report["files"]


def test_predict_answers_by_the_hook_beside_the_function(
    segmentation, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "one.txt"
    file.write_text("any file")
    assert predict_main([str(segmentation), str(file)]) == 2
    assert "the command predict needs predict(model, files)" in capsys.readouterr().err

    def predict(model, files):
        return [(f"{len(list(model.parameters()))} weights", 0.75) for _ in files]

    monkeypatch.setattr(example("segmentation"), "predict", predict, raising=False)
    assert predict_main([str(segmentation), str(file)]) == 0
    (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert (row["text"], row["confidence"]) == ("8 weights", "0.7500")
    assert predict_main([str(segmentation), str(tmp_path / "none.txt")]) == 2


def test_a_module_that_only_the_file_names_is_not_imported(segmentation, monkeypatch):
    monkeypatch.delitem(__import__("sys").modules, "segmentation")
    with pytest.raises(ConfigurationError, match="--import segmentation"):
        find_own(segmentation)


def test_a_damaged_export_is_reported_with_its_file(segmentation, tmp_path):
    export_own(find_own(segmentation), tmp_path / "ship", lambda line: None)
    weights = tmp_path / "ship" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match=re.escape(str(weights))):
        find_own(weights)
