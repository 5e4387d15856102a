import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.cli.dry_run import dry_run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.space.devices import check_devices
from raytune_ocr.tune.space.search_space import read_space


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda:99", 1, r"experiments\.conservative_small\.training\.device: .* no 'cuda:99'"),
        ("cuda", 0, "must not be cuda for trials with 0 GPUs"),
    ],
)
def test_a_device_that_is_not_there_is_an_error(device, gpus, message, tmp_path):
    output, chosen = tmp_path / "out", {"overrides": {"device": device}, "gpus_per_trial": gpus}
    asked = HyperparameterTuner("presets", output_dir=output, **chosen)
    with pytest.raises(ConfigurationError, match=message):
        dry_run(asked, None)
    with pytest.raises(ConfigurationError, match=message):
        asked.run_experiments()
    assert not (tmp_path / "out").exists()


def test_what_a_cluster_has_is_not_known_here():
    space = read_space({"experiments": {"far": {"training": {"device": "cuda:99"}}}}, "space.yaml")
    trials = [(space.experiments["far"], space.points["far"][0])]
    check_devices(trials, TuneOptions(address="auto", gpus_per_trial=1))
    with pytest.raises(ConfigurationError, match="must not be cuda:99 for trials with 0 GPUs"):
        check_devices(trials, TuneOptions(address="auto", gpus_per_trial=0))
