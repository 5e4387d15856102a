"""Prediction on real files with a model that was saved by real training."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.inference.locate import find_checkpoint, find_images
from raytune_ocr.inference.reading import predict
from raytune_ocr.models import ModelRegistry
from raytune_ocr.predict import main
from raytune_ocr.training import load_reader, train_from_config
from raytune_ocr.training.checkpoints.state_files import write_state
from raytune_ocr.vocabulary import DIGITS
from tests.fixtures import readers
from tests.fixtures.materials import read_with_the_card
from tests.fixtures.readers import train_reader


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training's folder, and the results JSON that names its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    train_reader(folder, "ctc_small")
    best = {"checkpoint": "one/checkpoints/best_model.pt"}
    (folder / "results.json").write_text(json.dumps({"best_result": best}))
    return folder


@pytest.fixture
def scans(tmp_path):
    return readers.scans(tmp_path / "scans")


def test_a_folder_is_read_into_a_table(run, scans, tmp_path):
    out = tmp_path / "read.csv"
    assert main([str(run / "results.json"), str(scans), "--csv", str(out)]) == 0
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(scans / f"{n}.png") for n in range(5)]
    assert all(set(row["text"]) <= set(DIGITS) for row in rows)
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)


def test_an_unreadable_file_is_reported_and_skipped(run, scans, capsys):
    (scans / "3.png").write_bytes(b"no image")
    assert main([str(run / "one"), str(scans)]) == 1
    printed = capsys.readouterr()
    assert "3.png" in printed.err and "4 read, 1 skipped" in printed.err
    assert len(printed.out.splitlines()) == 5


def test_only_the_first_of_several_pictures_is_read_and_that_is_said_once(run, scans, capsys):
    pages = [Image.new("L", (128, 64), level) for level in (0, 90, 200)]
    for name in ("pages.tif", "moving.gif", "moving.webp"):
        pages[0].save(scans / name, save_all=True, append_images=pages[1:])
    pages[0].save(scans / "page.tif")
    assert main([str(run / "one"), str(scans)]) == 0
    output = capsys.readouterr().err
    assert output.count("contains several images; only the first was read") == 3
    assert output.count("pages.tif:") == 1 and "page.tif" not in output


def test_a_name_that_is_not_utf_8_is_written_escaped(run, scans, tmp_path):
    name = os.fsdecode(b"scan\xe9.png")
    (scans / "0.png").rename(scans / name)
    out = tmp_path / "read.csv"
    assert main([str(run / "one"), str(scans), "--csv", str(out)]) == 0
    command = [sys.executable, "-m", "raytune_ocr.predict", str(run / "one"), str(scans)]
    printed = subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
    for table in (out.read_text(encoding="utf-8"), printed):
        files = [row["file"] for row in csv.DictReader(table.splitlines())]
        assert len(files) == 5 and str(scans / r"scan\xe9.png") in files


def test_the_polarity_and_the_size_of_an_image_do_not_change_what_is_read(run, scans, tmp_path):
    first = scans / "0.png"
    with Image.open(first) as image:
        negative = tmp_path / "negative.png"
        Image.fromarray(255 - np.asarray(image)).save(negative)
    out = tmp_path / "out.csv"
    assert main([str(run / "one"), str(first), str(negative), "--csv", str(out)]) == 0
    one, other = out.read_text().splitlines()[1:]
    assert one.split(",")[1] == other.split(",")[1]


def test_two_results_files_that_a_wildcard_stands_for_are_refused(run, scans, capsys):
    assert main([str(run / "results.json"), str(run / "other.json"), str(scans)]) == 2
    output = capsys.readouterr().err
    assert "other.json: must be an image or a folder of images, got a results file" in output


def test_a_batch_of_none_is_refused(run, scans, capsys):
    with pytest.raises(SystemExit):
        main([str(run), str(scans), "--batch-size", "0"])
    assert "--batch-size: must be an integer >= 1, got '0'" in capsys.readouterr().err


def test_a_damaged_model_is_an_error_with_its_file(tmp_path, scans, capsys):
    path = tmp_path / "best_model.pt"
    path.write_bytes(b"damaged")
    assert main([str(path), str(scans)]) == 2
    assert "best_model.pt: damaged" in capsys.readouterr().err


def set_bf16(monkeypatch, is_fast):
    """Say whether this machine's CPU has instructions for bf16; any CPU computes in it."""
    for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, probe, lambda: is_fast, raising=False)


@pytest.fixture
def fast_in_half(monkeypatch):
    set_bf16(monkeypatch, True)


def test_mixed_precision_reads_much_as_float32_does(scans, tmp_path, fast_in_half):
    train_reader(tmp_path, "small")  # which answers something after a few steps
    checkpoint = find_checkpoint(tmp_path / "one")
    model, _ = load_reader(checkpoint)
    files = find_images([scans])
    whole, half = (
        [reading.confidence for reading in predict(model, files, mixed_precision=mixed)]
        for mixed in (False, True)
    )
    assert half == pytest.approx(whole, abs=0.01)
    assert half != whole
    assert main([str(checkpoint), str(scans), "--mixed-precision"]) == 0


def test_a_checkpoint_is_read_in_the_precision_it_was_trained_in(
    scans, tmp_path, capsys, fast_in_half
):
    def confidences(folder, *options):
        capsys.readouterr()
        assert main([str(folder / "one"), str(scans), *options]) == 0
        rows = csv.DictReader(capsys.readouterr().out.splitlines())
        return [row["confidence"] for row in rows]

    for name, mixed_precision in (("whole", False), ("half", True)):
        train_reader(tmp_path / name, "small", mixed_precision)
        half = confidences(tmp_path / name, "--mixed-precision")
        whole = confidences(tmp_path / name, "--no-mixed-precision")
        assert half != whole
        assert confidences(tmp_path / name) == (half if mixed_precision else whole)


def test_doubtful_images_are_looked_at_again_unless_one_look_is_asked_for(scans, tmp_path, capsys):
    train_reader(tmp_path, "small")  # one epoch of 64 images: it doubts all that it reads
    files = find_images([scans])
    model, _ = load_reader(find_checkpoint(tmp_path / "one"))
    once, twice = (list(predict(model, files, second_look=look)) for look in (False, True))
    assert all(0 < reading.confidence < 0.9 for reading in once)
    assert [r.confidence for r in once] != [r.confidence for r in twice]
    command = [str(tmp_path / "one"), str(scans)]
    for options, readings in (([], twice), (["--no-second-look"], once)):
        assert main([*command, *options]) == 0
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert [row["text"] for row in rows] == [reading.text for reading in readings]
        assert [row["confidence"] for row in rows] == [f"{r.confidence:.4f}" for r in readings]


def test_an_onnx_export_has_no_mixed_precision(scans, tmp_path, capsys):
    (tmp_path / "model.onnx").write_bytes(b"")
    assert main([str(tmp_path / "model.onnx"), str(scans), "--mixed-precision"]) == 2
    assert "--mixed-precision:" in capsys.readouterr().err


def test_where_half_precision_is_not_faster_it_is_said_and_float32_read(
    run, scans, capsys, monkeypatch
):
    set_bf16(monkeypatch, False)
    command = [str(run / "results.json"), str(scans)]
    assert main([*command, "--mixed-precision"]) == 0
    output = capsys.readouterr()
    assert "reading in float32" in output.err
    assert main(command) == 0
    assert capsys.readouterr().out == output.out


@pytest.mark.parametrize(
    ("redirection", "message"), [(">&-", "5 read"), ("> /dev/full", "No space left")]
)
def test_no_state_of_standard_output_ends_in_a_traceback(run, scans, redirection, message):
    words = f"{sys.executable} -m raytune_ocr.predict {run / 'one'} {scans} {redirection}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert message in done.stderr


MODULE = """
from pathlib import Path
from torch import nn
from raytune_ocr.models import ModelRegistry

Path(__file__).with_suffix(".imported").touch()

@ModelRegistry.register("of_a_stranger")
class Model(nn.Module):
    kind = "ctc"

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 13)

    def forward(self, images):
        return self.linear(images[:, 0].float().transpose(1, 2))
"""


@pytest.fixture
def strange_module(tmp_path, monkeypatch):
    """A module that can be imported for this test, and a checkpoint of its model."""
    (tmp_path / "strange_module.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ModelRegistry, "_factories", dict(ModelRegistry._factories))
    config = TrainingConfig(model_name="of_a_stranger", loss_type="ctc", imports=["strange_module"])
    weights = {"linear.weight": torch.randn(13, 64), "linear.bias": torch.zeros(13)}
    state = {"config": config.to_dict(), "model_state_dict": weights}
    write_state(tmp_path / "model.pt", state)
    yield tmp_path / "strange_module.py"
    sys.modules.pop("strange_module", None)


def test_a_module_that_only_the_file_names_is_not_imported(strange_module, scans, capsys):
    trace = strange_module.with_suffix(".imported")
    command = [str(strange_module.with_name("model.pt")), str(scans)]
    assert main(command) == 2
    assert "--import strange_module" in capsys.readouterr().err
    assert not trace.exists()
    assert main([*command, "--import", "strange_module"]) == 0
    assert trace.exists()


def test_a_classifier_names_the_class_of_each_image(tmp_path, capsys):
    for name, level in (("=dark", 20), ("light", 200)):
        for number in range(12):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 20, (30, 40)) + level
            pixels[:, : 20 if level == 20 else 5] = 120
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    config = TrainingConfig(
        model_name="image_classifier",
        dataset_name="image_folder",
        dataset_options={"size": [16, 24]},
        metadata_path=str(tmp_path / "photos"),
        num_epochs=12,
        batch_size=4,
        learning_rate=3e-3,
        augmentation=False,
        early_stopping_monitor="val_accuracy",
        output_dir=str(tmp_path / "out"),
        experiment_name="classes",
        use_tensorboard=False,
    )
    train_from_config(config)
    photos = [str(tmp_path / "photos" / "=dark" / "0.png"), str(tmp_path / "photos/light/3.png")]
    assert main([str(tmp_path / "out" / "classes"), *photos]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["text"] for row in rows] == ["'=dark", "light"]
    assert all(0.5 <= float(row["confidence"]) <= 1 for row in rows)
    assert main([str(tmp_path / "out" / "classes"), *photos, "--top-k", "2"]) == 0
    both = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["text_2"] for row in both] == ["light", "'=dark"]
    for row in both:
        assert float(row["confidence"]) + float(row["confidence_2"]) == pytest.approx(1, abs=2e-4)
    export_and_compare(tmp_path, photos, rows, capsys)


def export_and_compare(folder, photos, rows, capsys):
    """An export of the classifier, and the code of its card alone, name the same classes."""
    from raytune_ocr.export import main as export

    assert export([str(folder / "out" / "classes"), "--output", str(folder / "ship")]) == 0
    for file in ("model.onnx", "model.safetensors"):
        capsys.readouterr()
        assert main([str(folder / "ship" / file), *photos]) == 0
        again = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert [row["text"] for row in again] == [row["text"] for row in rows]
    output = read_with_the_card(folder / "ship", photos)
    assert [name for name, _ in output] == ["=dark", "light"]
    assert str(folder) not in (folder / "ship" / "config.yaml").read_text()
