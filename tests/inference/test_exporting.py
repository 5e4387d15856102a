import numpy as np
import pytest
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import CheckpointError
from raytune_ocr.inference import exporting
from raytune_ocr.inference.exporting import logits_of, milliseconds, without_own_paths


class Sum(nn.Module):
    """Adds the pixels of an image, and something of its own."""

    def __init__(self, error=0.0):
        super().__init__()
        self.error = error

    def forward(self, images):
        return images.sum(dim=(1, 2, 3))[:, None] + self.error


IMAGES = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)


def test_logits_do_not_depend_on_the_batches():
    for batch_size in (1, 3, 64):
        np.testing.assert_array_equal(logits_of(Sum(), IMAGES, batch_size)[:, 0], np.arange(10))


def test_a_time_is_the_median_of_several(monkeypatch):
    clock = iter([0, 1, 0, 5, 0, 2])
    monkeypatch.setattr(exporting.time, "perf_counter", lambda: next(clock))
    assert milliseconds(Sum(), IMAGES, repeats=3) == 2000


@pytest.mark.parametrize(("error", "refused"), [(5e-4, False), (2e-3, True), (np.nan, True)])
def test_a_format_that_answers_otherwise_is_refused(tmp_path, monkeypatch, error, refused):
    for name in (exporting.WEIGHTS, exporting.ONNX):
        (tmp_path / name).write_bytes(b"1234")
    monkeypatch.setattr(exporting, "load_exported", lambda path: Sum(error))
    lines = []
    if refused:
        with pytest.raises(
            CheckpointError, match=r"model.safetensors: logits must be within 0.001"
        ):
            exporting._check(Sum(), tmp_path, IMAGES, lines.append)
        return
    report = exporting._check(Sum(), tmp_path, IMAGES, lines.append)
    assert report["images_checked"] == 10 and report[exporting.ONNX]["bytes"] == 4
    assert report["largest_difference"] == pytest.approx(error, rel=0.01)
    assert len(lines) == 2


def test_folders_of_this_machine_do_not_leave_with_a_config():
    config = TrainingConfig(
        metadata_path="/home/someone/data/digits/metadata.yaml",
        output_dir="/home/someone/runs",
        dataset_options={"fonts_dirs": ["/home/someone/fonts", "fonts"], "composed": 100},
    )
    shipped = without_own_paths(config)
    assert shipped.metadata_path == "digits/metadata.yaml"
    assert shipped.dataset_options == {"fonts_dirs": ["someone/fonts", "fonts"], "composed": 100}
    assert "someone" not in shipped.output_dir
