"""Check that a resumed run has the same data; warn about other versions and devices."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.training.device import get_device
from raytune_ocr.version import __version__

logger = logging.getLogger(__name__)

DATA = "data"  # the journal's fact with the content hashes of a run's data
CODE = "code"  # the journal's fact with hashes of the source of own functions and tasks
PACKAGES = ("torch", "ray", "numpy")


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that weights depend on."""
    own = {"raytune_ocr": __version__, "python": platform.python_version()}
    return own | {package: version(package) for package in PACKAGES}


def made_with(config: TrainingConfig) -> dict[str, str]:
    """Return the versions and the device's model name that a trial trains with."""
    device = get_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {**versions(), "device": name}


class MadeWith:
    """Warns once when trials of one run train with different versions or devices.

    Args:
        records: trials of the run's earlier parts.
    """

    def __init__(self, records: Iterable[TrialRecord] = ()) -> None:
        self._seen: list[Mapping[str, str]] = []
        for record in records:
            if record.made_with and record.made_with not in self._seen:
                self._seen.append(record.made_with)

    def note(self, name: str, now: Mapping[str, str]) -> None:
        """Compare a trial's versions and device with those of earlier trials."""
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
    """Return a hash of the content by path of the data; data without a hash are left out."""
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
    """Check that a resumed run trains on the data that it began with.

    Args:
        facts: of the journal; if they have no data, as in older runs, nothing is checked.
        fingerprints: from `data_fingerprints`.

    Raises:
        ConfigurationError: the content differs; the path may.
    """
    known = [each for fact in facts.get(DATA, []) for each in fact["fingerprints"].values()]
    other = [path for path, fingerprint in fingerprints.items() if fingerprint not in known]
    if known and other:
        raise ConfigurationError(
            f"--resume: the data must be the same as at the start of the run, got "
            f"{', '.join(other)} with other images, labels or splits; restore the data (or give "
            "the path of a copy: --data PATH), or start a new run with another --output-dir"
        )


def note_data(facts: dict[str, list[Any]], fingerprints: Mapping[str, str]) -> None:
    """Check the data of a run and add their fingerprints to the journal's `facts`.

    Raises:
        ConfigurationError: as `check_data`.
    """
    check_data(facts, fingerprints)
    if fingerprints and {"fingerprints": fingerprints} not in facts.get(DATA, []):
        facts.setdefault(DATA, []).append({"fingerprints": dict(fingerprints)})


def note_code(facts: dict[str, list[Any]], fingerprints: Mapping[str, str]) -> None:
    """Warn of source that was edited since, and add its hashes to the journal's `facts`."""
    warn_of_edited_code(facts, fingerprints)
    if fingerprints:
        facts.setdefault(CODE, []).append({"fingerprints": dict(fingerprints)})
