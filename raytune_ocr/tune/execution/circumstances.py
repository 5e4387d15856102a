"""What a run goes on under: its data must be the same, other versions and devices are told."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.version import __version__

logger = logging.getLogger(__name__)

DATA = "data"  # the fact that tells the data of a run by content
CODE = "code"  # the fact that holds hashes of the source of functions and tasks of one's own
PACKAGES = ("torch", "ray", "numpy")


@cache
def versions() -> dict[str, str]:
    """The versions that weights depend on."""
    from importlib.metadata import version

    own = {"raytune_ocr": __version__, "python": platform.python_version()}
    return own | {package: version(package) for package in PACKAGES}


def made_with(config: TrainingConfig) -> dict[str, str]:
    """What a trial trains with in this process: versions, and the device by its model name."""
    import torch

    from raytune_ocr.training.device import get_device

    device = get_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {**versions(), "device": name}


class MadeWith:
    """Tells once where trials of one run are made with different versions or devices.

    Args:
        records: trials of the run's earlier parts.
    """

    def __init__(self, records: Iterable[TrialRecord] = ()) -> None:
        self._seen: list[Mapping[str, str]] = []
        for record in records:
            if record.made_with and record.made_with not in self._seen:
                self._seen.append(record.made_with)

    def note(self, name: str, now: Mapping[str, str]) -> None:
        """Take in what a trial reports that it is made with."""
        if now in self._seen:
            return
        if self._seen:
            before = self._seen[-1]
            changes = [
                f"{key} {now[key]} (before: {before[key]})"
                for key in now
                if key in before and now[key] != before[key]
            ]
            logger.warning(
                "%s: trained with other versions or devices than earlier trials of the run, so "
                "figures may differ in their last digits: %s",
                *(name, ", ".join(changes)),
            )
        self._seen.append(now)


def data_fingerprints(records: Iterable[TrialRecord], data: Mapping[str, Any]) -> dict[str, str]:
    """By path of the data, a hash of its content; data that cannot tell one are left out."""
    fingerprints = {}
    hashed: dict[str, str] = {}
    for record in records:
        key = record.task.data_key(record.config)
        if key not in hashed:
            hashed[key] = record.task.data_fingerprint(data[key])
        if hashed[key]:
            fingerprints[f"{record.config.metadata_path}"] = hashed[key]
    return fingerprints


def code_fingerprints(records: Iterable[TrialRecord]) -> dict[str, str]:
    """By name of a function or task of one's own, a hash of its source."""
    codes = {(each.config.trainable or each.config.task): each for each in records}
    found = {name: record.task.code_fingerprint(record.config) for name, record in codes.items()}
    return {name: fingerprint for name, fingerprint in found.items() if fingerprint}


def warn_of_edited_code(facts: Mapping[str, list[Any]], fingerprints: Mapping[str, str]) -> None:
    """Log a warning for each function or task that was edited since the run trained with it."""
    for name, now in fingerprints.items():
        before = [each["fingerprints"].get(name, now) for each in facts.get(CODE, [])]
        if before and before[-1] != now:
            logger.warning(
                "--resume: the source of %s was edited since: further epochs are trained by other "
                "code than the epochs before",
                name,
            )


def check_data(facts: Mapping[str, list[Any]], fingerprints: Mapping[str, str]) -> None:
    """Check that a resumed run trains on data that it has trained on before.

    Args:
        facts: of the journal; where they tell no data, as in older runs, nothing is checked.
        fingerprints: what `data_fingerprints` says now.

    Raises:
        ConfigurationError: the content differs, wherever the data lie.
    """
    known = [each for fact in facts.get(DATA, []) for each in fact["fingerprints"].values()]
    other = [path for path, fingerprint in fingerprints.items() if fingerprint not in known]
    if known and other:
        raise ConfigurationError(
            f"--resume: the data must be those that the run was begun with, got {', '.join(other)} "
            "with other images, labels or splits; put them back as they were (a copy elsewhere "
            "will do: --data PATH), or begin another run in another --output-dir"
        )
