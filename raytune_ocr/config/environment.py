"""Settings as text: `RAYTUNE_OCR_<SETTING>` variables and `--set NAME=VALUE`."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any

from raytune_ocr.config.settings import PATHS, RULES, check
from raytune_ocr.config.yaml_files import parse_yaml
from raytune_ocr.errors import ConfigurationError, ConfigurationSyntaxError, unknown_name

logger = logging.getLogger(__name__)

ENVIRONMENT_PREFIX = "RAYTUNE_OCR_"


def environment_overrides(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the settings that `RAYTUNE_OCR_<SETTING>` variables set, read as YAML values.

    A variable that names no setting is warned of once.

    Args:
        environment: default: the environment of this process.

    Raises:
        ConfigurationError: naming every variable with a wrong value.
    """
    environment = os.environ if environment is None else environment
    found, problems = {}, []
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in RULES:
            _warn_of_unknown(variable, name)
            continue
        try:
            found[name] = check(name, parse_value(name, text), variable)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return {name: found[name] for name in RULES if name in found}


@functools.cache
def _warn_of_unknown(variable: str, name: str) -> None:
    logger.warning("%s has no effect: %s", variable, unknown_name("setting", name, RULES))


def parse_assignments(texts: Iterable[str], option: str = "--set") -> dict[str, Any]:
    """Return the settings that `NAME=VALUE` texts set; NAME may be a YAML path.

    >>> parse_assignments(["batch_size=64", "optimizer.type=adamw"])
    {'batch_size': 64, 'optimizer_type': 'adamw'}

    Raises:
        ConfigurationError: for the first text that is wrong.
    """
    settings = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise ConfigurationError(f"{option}: must be KEY=VALUE, got {text!r}")
        setting = PATHS.get(name, name)
        if setting not in RULES:
            known = PATHS if "." in name else RULES
            raise ConfigurationError(f"{option} {name}: {unknown_name('setting', name, known)}")
        settings[setting] = check(setting, parse_value(setting, value), f"{option} {name}")
    return settings


def parse_value(name: str, text: str) -> Any:
    """Return the value that `text` would have in a YAML file; of a text setting, `text` itself."""
    if name in RULES and RULES[name].kind is str:
        return text
    try:
        return parse_yaml(text, name)
    except ConfigurationSyntaxError as error:
        reason = str(error).removeprefix(f"{name}: not valid YAML: ")
        raise ConfigurationSyntaxError(f"{name}: must be YAML, got {text!r}: {reason}") from None
