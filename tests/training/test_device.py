import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import (
    get_device,
    setup_training_environment,
)


def test_the_environment_is_a_device_and_whether_precision_is_mixed():
    device, use_amp = setup_training_environment(TrainingConfig(device="cpu"))
    assert (device.type, use_amp) == ("cpu", False)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigurationError, match="this machine has no 'cuda'"):
            setup_training_environment(TrainingConfig(device="cuda"))


@pytest.mark.parametrize("name", ["gpu", "CPU", ""])
def test_a_name_of_no_device_is_an_error(name):
    with pytest.raises(ConfigurationError, match=f"device: must be auto, cpu, .*, got '{name}'"):
        get_device(name)


def test_a_device_is_its_own():
    assert get_device(torch.device("cpu")) == torch.device("cpu")
