import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import reading
from benchmarks.support import judged_images as judged
from benchmarks.support import report
from benchmarks.support.checkouts import checkout
from benchmarks.support.other_readers import (
    NotInstalledError,
    Preparation,
    Tesseract,
    cropped,
    dark_on_light,
    digits_of,
)
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data.synthesis.composer import SyntheticComposer
from raytune_ocr.models import create_model
from raytune_ocr.training.checkpoints.checkpoint import write_state
from raytune_ocr.training.device import autocast_dtype


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    found = judged.find_faces([], tmp_path_factory.mktemp("fonts"))
    if judged.TRAINED not in found:
        pytest.skip("no Khmer font is installed")
    return found


@pytest.fixture
def checkpoint(tmp_path):
    config = TrainingConfig(model_name="ctc_small", loss_type="ctc", experiment_name="fresh")
    state = {
        "epoch": 1,
        "model_state_dict": create_model("ctc_small").state_dict(),
        "config": config.to_dict(),
    }
    write_state(tmp_path / "best_model.pt", state)
    return tmp_path / "best_model.pt"


def test_accuracies_count_digits_place_by_place_and_whole_strings():
    found = reading.score(["១២៣", "៤"], ["១២៤", "៤៥"])
    assert found["char"] == 3 / 5
    assert found["seq"] == 0
    assert found["cer"] == 2 / 5


def test_white_on_black_becomes_black_on_white_and_is_cut_to_its_ink():
    pixels = np.full((64, 128), 20, dtype=np.uint8)
    pixels[20:40, 50:70] = 220
    grey = dark_on_light(Image.fromarray(pixels))
    assert grey.getpixel((0, 0)) == 235
    assert grey.getpixel((60, 30)) == 35
    assert cropped(grey, 5, None).size == (30, 30)
    assert cropped(grey, 5, 40).height == 60


def test_what_the_others_write_is_taken_for_digits():
    assert digits_of(" 12\n៣x") == "១២៣"


def test_reserved_faces_are_not_rendered_and_the_groups_do_not_mix(faces):
    assert faces and all(faces.values())
    for group, members in faces.items():
        for face in members:
            assert not judged.belongs_to(face.name, judged.RESERVED_FAMILIES)
            developed = judged.belongs_to(face.name, judged.DEVELOPMENT_FAMILIES)
            assert developed == (group == judged.LEFT_OUT)


def test_the_same_seed_renders_the_same_images(faces, tmp_path):
    for place in ("a", "b"):
        cell = judged.rendered("x", faces[judged.TRAINED], 5, tmp_path / place, 3, degraded=True)
    assert [file.name for file in cell.files] == [f"{i:05d}.png" for i in range(5)]
    for file in cell.files:
        assert file.read_bytes() == (tmp_path / "a" / file.name).read_bytes()
    assert all(1 <= len(text) <= 8 for text in cell.texts)


def test_our_checkpoint_is_judged_on_a_labelled_folder(checkpoint, faces, tmp_path, monkeypatch):
    scans = tmp_path / "scans"
    images, texts = SyntheticComposer(seed=3).batch(6)
    scans.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(scans / f"{number}.png")
    rows = "".join(f"{number}.png,{text}\n" for number, text in enumerate(texts))
    (scans / "labels.csv").write_text("file,label\n" + rows, encoding="utf-8")
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    reading.main(["--ours", str(checkpoint), "--samples=6", "--no-others", f"--real={scans}"])
    found = json.loads((tmp_path / "reading.json").read_text(encoding="utf-8"))
    counts = {row["images"]: row["count"] for row in found["rows"]}
    assert counts["scans"] == counts["in training, clean"] == 6
    half = {"ours, fresh, bf16"} if autocast_dtype(torch.device("cpu")) else set()
    plain = {"ours, fresh", "ours, fresh, one look"}
    assert {row["reader"] for row in found["rows"]} == plain | half


def test_tesseract_reads_a_list_of_files_in_one_go(faces, tmp_path):
    cell = judged.rendered("x", faces[judged.TRAINED], 12, tmp_path, 1, degraded=False)
    try:
        reader = Tesseract(Preparation(10))
    except NotInstalledError:
        pytest.skip("Tesseract's khm is not installed")
    assert reading.score(reader.read(cell.files), cell.texts)["char"] > 0.5


def test_an_image_that_tesseract_cannot_open_costs_its_own_text_alone(faces, tmp_path):
    cell = judged.rendered("x", faces[judged.TRAINED], 2, tmp_path, 1, degraded=False)
    try:
        reader = Tesseract(lambda image: image, page_segmentation=7)
    except NotInstalledError:
        pytest.skip("Tesseract's khm is not installed")
    whole = reader._pages([str(file) for file in cell.files])
    (tmp_path / "none.png").write_bytes(b"no image")
    names = [str(cell.files[0]), str(tmp_path / "none.png"), str(cell.files[1])]
    assert reader._pages(names) == [whole[0], "", whole[1]]


def test_without_any_results_the_command_says_what_to_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="--ours"):
        reading.main([])


def test_the_speed_of_a_preset_is_measured_in_processes_that_take_turns(tmp_path, capsys):
    reading.main(["--speed", "ctc_small", "--samples=4", "--pairs=1", "--no-write"])
    names, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert names[0] == "model" and rows[0][0].startswith("ctc_small")
    assert float(rows[0][1]) > 0


def test_an_unknown_revision_is_named(tmp_path):
    with pytest.raises(SystemExit, match="must be a git revision"), checkout("no-such-revision"):
        pass
