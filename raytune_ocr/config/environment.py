"""Settings as text: `RAYTUNE_OCR_<SETTING>` variables and `--set NAME=VALUE`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from raytune_ocr.config.settings import PATHS, RULES, check
from raytune_ocr.config.yaml_files import parse_yaml
from raytune_ocr.errors import ConfigurationError, ConfigurationSyntaxError, unknown_name

ENVIRONMENT_PREFIX = "RAYTUNE_OCR_"


def environment_overrides(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the settings that `RAYTUNE_OCR_<SETTING>` variables set, read as YAML values.

    Args:
        environment: default: the environment of this process.

    Raises:
        ConfigurationError: naming every variable with a wrong value or of no setting.
    """
    environment = os.environ if environment is None else environment
    found, problems = {}, []
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        try:
            if name not in RULES:
                raise ConfigurationError(f"{variable}: {unknown_name('setting', name, RULES)}")
            found[name] = check(name, parse_value(name, text), variable)
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return {name: found[name] for name in RULES if name in found}


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
