"""Check the devices that trials name before the run begins."""

from __future__ import annotations

import os
from collections.abc import Iterable

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training.device import get_device
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.space.experiment import Experiment, Point


def check_devices(trials: Iterable[tuple[Experiment, Point]], options: TuneOptions) -> None:
    """Raise ConfigurationError for devices that no trial can have.

    Devices of a cluster's nodes are not known here; but a trial with 0 GPUs never has one.
    """
    problems = {}
    for experiment, point in trials:
        device, place = point.config.device, f"{experiment.place}.training.device"
        gpus = experiment.resources.gpus
        gpus = options.gpus_per_trial if gpus is None else gpus
        if device.startswith("cuda") and gpus == 0:
            problems[place] = f"{place}: must not be {device} for trials with 0 GPUs"
        elif not (options.address or os.environ.get("RAY_ADDRESS")):
            try:
                get_device(device)
            except ConfigurationError as error:
                problems[place] = f"{place}: {str(error).removeprefix('device: ')}"
    if problems:
        raise ConfigurationError("\n".join(problems.values()))
