import json
import shutil

import pytest

from raytune_ocr.errors import CheckpointError, DataLoaderError, DataNotFoundError
from raytune_ocr.inference.locate import find_checkpoint, find_images, find_results


@pytest.fixture
def run(tmp_path):
    """The folder of a run, and the results JSON that names its best checkpoint."""
    folder = tmp_path / "run"
    (folder / "one" / "checkpoints").mkdir(parents=True)
    (folder / "one" / "checkpoints" / "best_model.pt").touch()
    best = {"checkpoint": "one/checkpoints/best_model.pt"}
    (folder / "results.json").write_text(json.dumps({"best_result": best}))
    return folder


def test_a_checkpoint_is_found_in_a_json_a_folder_or_as_it_is(run):
    best = run / "one" / "checkpoints" / "best_model.pt"
    sources = (run / "results.json", run, run / "one", best)
    assert {find_checkpoint(source).resolve() for source in sources} == {best.resolve()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a results JSON"),
        ('{"best_result": null}', "has no checkpoint"),
        ('{"best_result": {"checkpoint": "gone.pt"}}', "'gone.pt' does not exist"),
    ],
)
def test_results_without_a_model_are_reported(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=message):
        find_checkpoint(path)


def test_missing_images_are_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such image"):
        find_images([tmp_path / "gone.png"])
    with pytest.raises(DataNotFoundError, match="contains no image"):
        find_images([tmp_path])


def test_a_run_that_was_moved_still_names_its_model(run, tmp_path):
    shutil.copytree(run / "one", tmp_path / "moved" / "one")
    best = {"checkpoint": "/gone/training_output/one/checkpoints/best_model.pt"}
    (tmp_path / "moved" / "results.json").write_text(json.dumps({"best_result": best}))
    assert (
        find_checkpoint(tmp_path / "moved")
        == tmp_path / "moved" / "one" / "checkpoints" / "best_model.pt"
    )


def test_an_export_is_found_before_results_and_no_model_lists_what_was_looked_for(tmp_path):
    with pytest.raises(CheckpointError, match=r"contains no checkpoints/best_model.pt, no export"):
        find_checkpoint(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    assert find_results(tmp_path) == tmp_path / "results.json"
    (tmp_path / "model.onnx").touch()
    assert find_results(tmp_path) is None
    assert find_checkpoint(tmp_path) == tmp_path / "model.onnx"


def test_a_results_file_among_the_images_is_refused(tmp_path):
    with pytest.raises(DataLoaderError, match="must be an image or a folder of images"):
        find_images([tmp_path / "results.json"])
