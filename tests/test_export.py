"""The winner in formats that others read."""

import csv
import re

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import SyntheticComposer, generate_dataset, to_canvas
from raytune_ocr.errors import CheckpointError
from raytune_ocr.export import main
from raytune_ocr.inference.calibration import Calibration
from raytune_ocr.inference.formats import (
    ONNX,
    WEIGHTS,
    load_exported,
    write_onnx,
    write_safetensors,
)
from raytune_ocr.inference.model_card import Data, Validation, model_card
from raytune_ocr.inference.reading import predict as readings_of
from raytune_ocr.inference.reading import read_images
from raytune_ocr.models import ModelRegistry
from raytune_ocr.predict import main as predict
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tasks.reader_test_split import read_test_split
from raytune_ocr.training import create_model_from_config, load_model, train_from_config
from raytune_ocr.training.evaluate import Counts
from raytune_ocr.training.model_config import whole
from tests.fixtures.materials import read_with_the_card


@pytest.fixture(scope="module", params=["small", "ctc_small"])
def exported(request, tmp_path_factory):
    """A reader that was trained for a moment, and its export."""
    folder = tmp_path_factory.mktemp(request.param)
    generate_dataset(folder / "data", sizes={"train": 64, "val": 40, "test": 12}, seed=1)
    config = TrainingConfig(
        model_name=request.param,
        loss_type="ctc" if request.param.startswith("ctc") else "crossentropy",
        num_epochs=1,
        metadata_path=str(folder / "data" / "metadata.yaml"),
        output_dir=str(folder),
        experiment_name="t",
        use_tensorboard=False,
    )
    train_from_config(config)
    assert main([str(folder / "t"), "--output", str(folder / "out")]) == 0
    return folder


def test_an_export_is_whole(exported):
    names = {path.name for path in (exported / "out").iterdir()}
    assert names == {"model.safetensors", "model.onnx", "config.yaml", "README.md"}
    config = yaml.safe_load((exported / "out" / "config.yaml").read_text())
    assert TrainingConfig.from_dict(config, environment={}).experiment_name == "t"


def test_an_export_needs_no_file_of_the_architecture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arch.yaml").write_text("temporal_width: 48\nsmall: {channels: [8, 16]}\n")
    config = TrainingConfig(model_name="small", model_config_path="arch.yaml", num_workers=0)
    model = create_model_from_config(config)
    write_safetensors(tmp_path / "model.safetensors", model)
    whole(config, model).save_yaml(tmp_path / "config.yaml")
    (tmp_path / "arch.yaml").unlink()
    assert load_exported(tmp_path / "model.safetensors").config == model.config


def test_a_model_of_ones_own_keeps_its_options_in_the_export():
    config = TrainingConfig(model_name="mine", model_options={"depth": 2})
    assert whole(config, nn.Linear(1, 1)) == config


@pytest.mark.parametrize("loss", ["ctc", "crossentropy"])
def test_a_model_that_does_not_say_how_it_is_read_is_exported_as_it_was_trained(
    tmp_path, monkeypatch, loss
):
    monkeypatch.setattr(ModelRegistry, "_factories", {"silent": Silent})
    config = TrainingConfig(model_name="silent", loss_type=loss, vocab_size=13)
    model = create_model_from_config(config)
    config.save_yaml(tmp_path / "config.yaml")
    write_safetensors(tmp_path / "model.safetensors", model)
    write_onnx(tmp_path / "model.onnx", model)
    kinds = {load_exported(tmp_path / f"model.{what}").kind for what in ("safetensors", "onnx")}
    assert kinds == {"ctc" if loss == "ctc" else "attention"}


class Silent(nn.Module):
    """A model that has no `kind`."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(128, 13)

    def forward(self, images):
        return self.linear(images[:, 0].float())


def test_data_outside_its_folder_checks_an_export_where_that_is_allowed(exported, tmp_path, capsys):
    image = next((exported / "data").rglob("*.png"))
    (tmp_path / "labels.csv").write_text(f"file,label,split\n{image},12,val\n")
    words = [str(exported / "t"), "--output", str(tmp_path / "out"), "--data", str(tmp_path)]
    assert main(words) == 2
    assert "pass --allow-outside" in capsys.readouterr().err
    assert main([*words, "--allow-outside"]) == 0


def test_the_card_tells_data_figures_intervals_and_limits(exported):
    card = (exported / "out" / "README.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert titles == ["Use", "Data", "Protocol", "Metrics", "Files", "Limits"]
    share = r"[01]\.\d{4}"
    assert re.search(rf"val \| strings \| {share} \| {share} to {share} \| 40", card)
    assert "64 train, 40 val, 12 test images" in card
    assert "no search was recorded" in card and "no test split was evaluated" in card
    assert "Noto Sans Khmer, Noto Serif Khmer, " in card  # families, not their every weight
    assert re.search(r"accuracy is lowest for \d digits: \d+ of \d+ correct", card)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Trained on `train`, without augmentation."),
        ({"composed": 0, "variety": 0.5}, "Trained on `train`, without augmentation."),
        (
            {"composed": 400},
            "Trained on 400 composed images per epoch, new ones in each, without augmentation.",
        ),
        (
            {"composed": 400, "variety": 0, "leave_out": ["Moul", "Bokor"]},
            "new ones in each, variety 0, none of the families Moul, Bokor, without",
        ),
    ],
)
def test_the_card_tells_what_was_composed_instead_of_the_training_split(options, message):
    config = TrainingConfig(augmentation=False, dataset_options=options)
    counts, none = Counts(1, 2, 3, 4), (None, None)
    counted = Validation(counts, {1: (1, 2)}, [], none, Calibration(), (0.0, 0.0))
    data = Data("set", {"train": 8, "val": 2}, {})
    card = model_card(config, data, counted, {"images_checked": 2}, {})
    assert message in card and "`set`: 8 train, 2 val images." in card


def test_the_card_of_a_runs_winner_tells_the_protocol_and_the_test_figures(exported, tmp_path):
    record = TrialRecord(
        TrainingConfig.from_yaml(exported / "t" / "config.yaml"), status="completed"
    )
    row = {"epoch": 1, "val_char_accuracy": 0.1, "val_seq_accuracy": 0.05, "train_loss": 2.0}
    record.add({**row, "seconds": 1.0})
    figures = {"t": read_test_split(record.config, record.checkpoint, record.best)}
    write_json(tmp_path / "r.json", results_document([record], {}, "now", held_out=figures))
    assert main([str(tmp_path / "r.json"), "--output", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "The best of 1 trials (1 completed)" in card and "epoch 1 of 1" in card
    assert re.search(r"\| test \| strings \| [01]\.\d{4} \| .* \| 12 \|", card)
    assert "The sequence accuracy on the test split is" in card


def test_checkpoint_safetensors_onnx_and_folder_read_alike(exported, tmp_path):
    images, _ = SyntheticComposer(seed=9).batch(20)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    out = exported / "out"
    read = []
    for model in (exported / "t", out, out / "model.safetensors", out / "model.onnx"):
        table = tmp_path / "read.csv"
        assert predict([str(model), str(tmp_path), "--csv", str(table)]) == 0
        rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
        read.append([(row["file"], row["text"]) for row in rows])
    assert len(read[0]) == 20
    assert all(rows == read[0] for rows in read)


def test_an_export_carries_its_calibration_and_predict_applies_it(exported):
    weights, onnx = (load_exported(exported / "out" / name) for name in (WEIGHTS, ONNX))
    assert weights.calibration == onnx.calibration
    files = sorted((exported / "data").rglob("*.png"))[:8]
    plain, _ = load_model(exported / "t" / "checkpoints" / "best_model.pt")
    own = [reading.confidence for reading in readings_of(plain, files)]
    found = [reading.confidence for reading in readings_of(weights, files)]
    assert found == pytest.approx([weights.calibration(each) for each in own], abs=1e-4)
    card = (exported / "out" / "README.md").read_text(encoding="utf-8")
    assert f"slope {weights.calibration.slope:.3f}" in card


def test_the_code_of_the_card_reads_as_this_package_does_without_it(exported, tmp_path):
    images, _ = SyntheticComposer(seed=9).batch(6)
    files = []
    for number, image in enumerate(images):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(image).resize((60 + 20 * number, 40)).save(files[-1])
    output = read_with_the_card(exported / "out", files)
    reader = load_exported(exported / "out" / "model.onnx")
    canvases = np.stack([to_canvas(Image.open(file)) for file in files])
    assert output == [text for text, _ in read_images(reader, canvases)]
    config = (exported / "out" / "config.yaml").read_text()
    card = (exported / "out" / "README.md").read_text(encoding="utf-8")
    assert str(exported) not in config and str(exported) not in card


def test_the_onnx_model_takes_any_batch(exported):
    model = load_exported(exported / "out" / "model.onnx")
    for size in (1, 3, 40):
        logits = model(torch.zeros(size, 1, 64, 128, dtype=torch.uint8))
        assert logits.shape[0] == size


def test_damaged_exports_are_refused(exported, tmp_path):
    for name in ("model.onnx", "model.safetensors"):
        content = (exported / "out" / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    (tmp_path / "config.yaml").write_bytes((exported / "out" / "config.yaml").read_bytes())
    for name in ("model.onnx", "model.safetensors"):
        with pytest.raises(CheckpointError, match=re.escape(name)):
            load_exported(tmp_path / name)


def test_without_images_to_check_with_nothing_is_exported(exported, tmp_path, capsys):
    words = [str(exported / "t"), "--output", str(tmp_path / "out"), "--data", "/nowhere"]
    assert main(words) == 2
    assert "--data METADATA" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
