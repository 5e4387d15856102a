"""What TensorBoard and trackers hear of a run."""

import subprocess
import sys

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.tracking import registry as tracking


def test_a_tracker_that_cannot_be_reported_is_an_error_of_the_command_line(tmp_path, monkeypatch):
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigurationError, match=r"--track wandb: .* No WandB API key found"):
        tracking.reach_trackers(["wandb"], tmp_path, "one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"--track mlflow: .*nothing answers there"):
        tracking.reach_trackers(["mlflow"], tmp_path, "one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://host")
    with pytest.raises(ConfigurationError, match=r"--track mlflow: .*nonsense"):
        tracking.reach_trackers(["mlflow"], tmp_path, "one")


@pytest.mark.slow
def test_a_run_that_tells_no_tracker_does_not_import_them(
    shared_address, write_space, data, tmp_path
):
    asks = (
        "import sys; from raytune_ocr.tune.__main__ import main; code = main(sys.argv[1:]); "
        "assert not {'mlflow', 'wandb'} & set(sys.modules); sys.exit(code)"
    )
    words = ["--config", write_space(epochs=1), "--data", data, "--output-dir", tmp_path / "out"]
    words += ["--results-file", tmp_path / "out.json", "--quiet", "--address", shared_address]
    done = subprocess.run([sys.executable, "-c", asks, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_tracker_and_one_that_is_not_installed_are_reported(
    write_space, tmp_path, monkeypatch, capsys
):
    words = ["--config", str(write_space()), "--output-dir", str(tmp_path / "out")]
    assert main([*words, "--track", "mlfow"]) == 2
    assert "did you mean 'mlflow'" in capsys.readouterr().err
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    assert main([*words, "--track", "wandb"]) == 2
    assert "pip install 'raytune-ocr[track]'" in capsys.readouterr().err
