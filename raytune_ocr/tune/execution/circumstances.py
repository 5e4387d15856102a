"""Check that a resumed run has the same data; warn about other versions and devices."""

from __future__ import annotations

import getpass
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.text import masked
from raytune_ocr.training.device import get_device
from raytune_ocr.version import __version__

logger = logging.getLogger(__name__)

DATA = "data"  # the journal's fact with the content hashes of a run's data
CODE = "code"  # the journal's fact with hashes of the source of own functions and tasks
COMMAND = "command"  # the fact with the command line and the git commit of a part of the run
NODE = "node"
GIT_SECONDS = 10
PACKAGES = ("torch", "ray", "numpy")


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that weights depend on."""
    own = {"raytune_ocr": __version__, "python": platform.python_version()}
    return own | {package: version(package) for package in PACKAGES}


def made_with(config: TrainingConfig) -> dict[str, str]:
    """Return the versions, the device's model name and the node that a trial trains with."""
    device = get_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {**versions(), "device": name, NODE: platform.node()}


class MadeWith:
    """Warns once when trials of one run train with different versions or devices.

    Args:
        records: trials of the run's earlier parts.
    """

    def __init__(self, records: Iterable[TrialRecord] = ()) -> None:
        self._seen: list[Mapping[str, str]] = []
        for record in records:
            before = without_node(record.made_with)
            if before and before not in self._seen:
                self._seen.append(before)

    def note(self, name: str, now: Mapping[str, str]) -> None:
        """Compare a trial's versions and device, not its node, with those of earlier trials."""
        now = without_node(now)
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


def without_node(made_with: Mapping[str, str]) -> dict[str, str]:
    """Return what figures may depend on: the nodes of a run differ, and that is no news."""
    return {name: value for name, value in made_with.items() if name != NODE}


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
                "--resume: the source of %s has changed since the run trained with it; further "
                "epochs train with the changed code",
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


def note_command(facts: dict[str, list[Any]]) -> None:
    """Add to the journal's `facts` what started this part of the run, and from which commit."""
    words = sys.orig_argv or sys.argv
    facts.setdefault(COMMAND, []).append(
        {
            COMMAND: masked(shlex.join(words)),
            "folder": str(Path.cwd()),
            "user": _user(),
            "host": platform.node(),
            "began": time.time(),
            **git_state(Path.cwd()),
        }
    )


def git_state(folder: Path) -> dict[str, Any]:
    """Return the commit of a folder and whether files differ from it; {} outside of git."""
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=GIT_SECONDS,
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": commit, "git_changes": bool(changes)}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user number without a name, as in some containers
        return str(os.getuid())
