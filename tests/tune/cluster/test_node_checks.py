"""What nodes must be able to do besides seeing the run's folder: import what trials import."""

import json
import os
import subprocess
import sys

import pytest

from raytune_ocr.tune.cluster.node_checks import modules_to_ship
from tests.fixtures.materials import draw_photos, module_with_a_model

MODEL = module_with_a_model("mine")
SPACE = """
experiments:
  only:
    model: {name: mine, imports: [my_model]}
    data: {name: image_folder, metadata_path: photos}
    training: {num_epochs: 1, batch_size: 8, use_tensorboard: false}
"""


@pytest.mark.slow
def test_a_module_that_only_the_driver_has_goes_with_it_or_is_reported_before_trials_start(
    shared_address, tmp_path
):
    work, own = tmp_path / "work", tmp_path / "own"
    draw_photos(work, number=20)
    own.mkdir()
    (work / "space.yaml").write_text(SPACE)

    def run(model):
        (own / "my_model.py").write_text(model)
        return subprocess.run(
            [
                *(sys.executable, "-m", "raytune_ocr.tune", "--config", "space.yaml"),
                *("--results-file", "r.json", "--address", shared_address),
            ],
            cwd=work,
            env={**os.environ, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{own}"},
            capture_output=True,
            text=True,
            timeout=180,
        )

    (own / "only_here.py").write_text("")
    refused = run("import only_here\n" + MODEL)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "cannot do this: import 'my_model': cannot be imported" in refused.stderr
    assert "No module named 'only_here'" in refused.stderr
    assert not (work / "r.json").exists()

    done = run(MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((work / "r.json").read_text())["best_result"]["total_epochs"] == 1


def test_only_the_users_own_modules_travel():

    names = ["benchmarks.support.empty", "json.decoder", "torch", "sys", "not_imported_at_all"]
    assert [module.__name__ for module in modules_to_ship(names)] == ["benchmarks"]
