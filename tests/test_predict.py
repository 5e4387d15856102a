"""Prediction on real files with a model that was saved by real training."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import PackedSplit, SyntheticComposer
from raytune_ocr.errors import CheckpointError, DataNotFoundError
from raytune_ocr.inference.locate import find_checkpoint, find_images
from raytune_ocr.inference.reading import predict
from raytune_ocr.predict import main
from raytune_ocr.training import load_reader, train_from_config
from raytune_ocr.training.device import autocast_dtype
from raytune_ocr.vocabulary import DIGITS, encode


def train(folder, model, mixed_precision=False):
    images, texts = SyntheticComposer(seed=1).batch(64)
    split = PackedSplit(images, np.array([encode(text) for text in texts]))
    config = TrainingConfig(
        model_name=model,
        loss_type="ctc" if model.startswith("ctc") else "crossentropy",
        num_epochs=1,
        mixed_precision=mixed_precision,
        output_dir=str(folder),
        experiment_name="one",
        use_tensorboard=False,
    )
    train_from_config(config, {"train": split, "val": split})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short training's folder, and the results JSON that names its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    train(folder, "ctc_small")
    best = {"checkpoint": "one/checkpoints/best_model.pt"}
    (folder / "results.json").write_text(json.dumps({"best_result": best}))
    return folder


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    images, _ = SyntheticComposer(seed=5).batch(5)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def test_a_folder_is_read_into_a_table(run, scans, tmp_path):
    out = tmp_path / "read.csv"
    assert main([str(run / "results.json"), str(scans), "--csv", str(out)]) == 0
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [str(scans / f"{n}.png") for n in range(5)]
    assert all(set(row["text"]) <= set(DIGITS) for row in rows)
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)


def test_an_unreadable_file_is_told_and_skipped(run, scans, capsys):
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
    told = capsys.readouterr().err
    assert told.count("holds several pictures, of which the first was read") == 3
    assert told.count("pages.tif:") == 1 and "page.tif" not in told


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


def test_a_checkpoint_is_found_in_a_json_a_folder_or_as_it_is(run):
    best = run / "one" / "checkpoints" / "best_model.pt"
    sources = (run / "results.json", run, run / "one", best)
    assert {find_checkpoint(source).resolve() for source in sources} == {best.resolve()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not a results JSON"),
        ('{"best_result": null}', "names no checkpoint"),
        ('{"best_result": {"checkpoint": "gone.pt"}}', "'gone.pt' does not exist"),
    ],
)
def test_results_without_a_model_are_told(tmp_path, content, told):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=told):
        find_checkpoint(path)


def test_missing_images_are_told(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such image"):
        find_images([tmp_path / "gone.png"])
    with pytest.raises(DataNotFoundError, match="holds no image"):
        find_images([tmp_path])


def test_a_run_that_was_moved_still_names_its_model(run, tmp_path):
    shutil.copytree(run / "one", tmp_path / "one")
    best = {"checkpoint": "/gone/training_output/one/checkpoints/best_model.pt"}
    (tmp_path / "results.json").write_text(json.dumps({"best_result": best}))
    assert find_checkpoint(tmp_path) == tmp_path / "one" / "checkpoints" / "best_model.pt"


def test_two_results_files_that_a_wildcard_stands_for_are_refused(run, scans, capsys):
    assert main([str(run / "results.json"), str(run / "other.json"), str(scans)]) == 2
    told = capsys.readouterr().err
    assert "other.json: must be an image or a folder of images, got a results file" in told


def test_a_batch_of_none_is_refused(run, scans, capsys):
    with pytest.raises(SystemExit):
        main([str(run), str(scans), "--batch-size", "0"])
    assert "--batch-size: must be an integer >= 1, got '0'" in capsys.readouterr().err


def test_a_damaged_model_is_an_error_with_its_file(tmp_path, scans, capsys):
    path = tmp_path / "best_model.pt"
    path.write_bytes(b"damaged")
    assert main([str(path), str(scans)]) == 2
    assert "best_model.pt: damaged" in capsys.readouterr().err


def test_mixed_precision_reads_much_as_float32_does(scans, tmp_path):
    train(tmp_path, "small")  # which answers something after a few steps
    checkpoint = find_checkpoint(tmp_path / "one")
    model, _ = load_reader(checkpoint)
    files = find_images([scans])
    whole, half = (
        [reading.confidence for reading in predict(model, files, mixed_precision=mixed)]
        for mixed in (False, True)
    )
    assert half == pytest.approx(whole, abs=0.01)
    fast_in_half = autocast_dtype(torch.device("cpu")) is not None
    assert (half != whole) == fast_in_half  # elsewhere it is float32 after all
    assert main([str(checkpoint), str(scans), "--mixed-precision"]) == 0


def test_a_checkpoint_is_read_in_the_precision_it_was_trained_in(scans, tmp_path, capsys):
    def confidences(folder, *options):
        capsys.readouterr()
        assert main([str(folder / "one"), str(scans), *options]) == 0
        rows = csv.DictReader(capsys.readouterr().out.splitlines())
        return [row["confidence"] for row in rows]

    for name, mixed_precision in (("whole", False), ("half", True)):
        train(tmp_path / name, "small", mixed_precision)
        half = confidences(tmp_path / name, "--mixed-precision")
        whole = confidences(tmp_path / name, "--no-mixed-precision")
        if autocast_dtype(torch.device("cpu")) is not None:
            assert half != whole
        assert confidences(tmp_path / name) == (half if mixed_precision else whole)


def test_doubtful_images_are_looked_at_again_unless_one_look_is_asked_for(scans, tmp_path, capsys):
    train(tmp_path, "small")  # one epoch of 64 images: it doubts all that it reads
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
    monkeypatch.setattr("raytune_ocr.training.device.autocast_dtype", lambda device: None)
    command = [str(run / "results.json"), str(scans)]
    assert main([*command, "--mixed-precision"]) == 0
    told = capsys.readouterr()
    assert "read in float32" in told.err
    assert main(command) == 0
    assert capsys.readouterr().out == told.out
