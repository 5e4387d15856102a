"""The exceptions of raytune_ocr.

    RaytuneOCRError
    |-- ConfigurationError            (ValueError)         a value, a key or a combination is wrong
    |   |-- ConfigurationNotFoundError (FileNotFoundError) a named configuration file is absent
    |   |-- ConfigurationSyntaxError  (yaml.YAMLError)     the file is not YAML
    |   `-- MissingKeyError           (KeyError)           a required key or experiment is absent
    |-- DataLoaderError               (ValueError)         images or labels cannot be used
    |   |-- DataNotFoundError         (FileNotFoundError)  a named data file is absent
    |   `-- SplitNotFoundError        (KeyError)           the data have no split of that name
    |-- ModelCreationError            (ValueError)         no such model, or its overrides are wrong
    |-- CheckpointError               (RuntimeError)       a checkpoint is damaged or foreign
    |   |-- CheckpointNotFoundError   (FileNotFoundError)  a named checkpoint is absent
    |   `-- IncompleteCheckpointError (KeyError)           it lacks a part that is needed
    `-- ExperimentFailedError         (RuntimeError)       a trial could not be finished
        |-- StorageUnreachableError   (OSError)            a node cannot reach the run's files
        |-- DivergenceError                                the loss became NaN or infinite
        |-- NodeDrainedError                               the trial's node is being drained
        `-- TrialTimeoutError         (TimeoutError)       a trial reached its timeout

Each also derives from the built-in that a caller would expect, so that code written against
the built-ins keeps working. The tuner never retries the deterministic ones. `TrialStopped`, which
ends a user's training function, is no error: it is a SystemExit, which `except Exception` lets
pass.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import yaml


class RaytuneOCRError(Exception):
    """Base of every deliberate error of this package."""


class ConfigurationError(RaytuneOCRError, ValueError):
    """A configuration value, key or combination breaks a rule."""


class ConfigurationNotFoundError(ConfigurationError, FileNotFoundError):
    """A configuration file that was named does not exist."""


class ConfigurationSyntaxError(ConfigurationError, yaml.YAMLError):
    """A configuration file is not valid YAML."""


class MissingKeyError(ConfigurationError, KeyError):
    """A required key of a configuration, or an experiment of that name, is absent."""

    __str__ = Exception.__str__  # KeyError's own puts the message in quotes


class DataLoaderError(RaytuneOCRError, ValueError):
    """Images or labels are missing, damaged or break a rule."""


class DataNotFoundError(DataLoaderError, FileNotFoundError):
    """A data file or folder that was named does not exist."""


class SplitNotFoundError(DataLoaderError, KeyError):
    """The data have no split of that name."""

    __str__ = Exception.__str__


class ModelCreationError(RaytuneOCRError, ValueError):
    """A model name is unknown or its architecture overrides are wrong."""


class CheckpointError(RaytuneOCRError, RuntimeError):
    """A checkpoint is missing, truncated or belongs to another model."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """A checkpoint that was named does not exist."""


class IncompleteCheckpointError(CheckpointError, KeyError):
    """A checkpoint is whole, but lacks a part that is needed here."""

    __str__ = Exception.__str__  # KeyError's own puts the message in quotes


class ExperimentFailedError(RaytuneOCRError, RuntimeError):
    """An experiment failed while it ran."""


class StorageUnreachableError(ExperimentFailedError, OSError):
    """A node of a cluster cannot reach the run's files; another node may."""


class DivergenceError(ExperimentFailedError):
    """The training loss became NaN or infinite."""


class NodeDrainedError(ExperimentFailedError):
    """A trial's node is being drained; the trial continues on another node from its last state."""


class TrialTimeoutError(ExperimentFailedError, TimeoutError):
    """A trial has reached its timeout."""


class TrialStopped(SystemExit):
    """`context.report` raises it where a trial ends or pauses; a training function lets it pass."""


DETERMINISTIC_ERRORS = (ConfigurationError, DataLoaderError, ModelCreationError, DivergenceError)
"""Errors that a retry cannot avoid."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Return a message for an unknown name, with the known names and the nearest one.

    >>> unknown_name("model", "smal", ["small", "large"])
    "unknown model 'smal' (known: large, small); did you mean 'small'?"
    """
    names = sorted(known)
    if not names:
        return f"unknown {kind} {name!r} (none is known)"
    nearest = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r} (known: {', '.join(names)}){hint}"
