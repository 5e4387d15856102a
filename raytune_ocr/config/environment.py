"""Settings from `RAYTUNE_OCR_<FIELD>` environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

from raytune_ocr.config.rules import RULES, check
from raytune_ocr.config.yaml_files import _StrictLoader
from raytune_ocr.errors import (
    ConfigurationSyntaxError,
)

ENVIRONMENT_PREFIX = "RAYTUNE_OCR_"


def environment_overrides(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Fields named by `RAYTUNE_OCR_<FIELD>` variables, their values read as YAML."""
    environment = os.environ if environment is None else environment
    found = {}
    for name in RULES:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if variable in environment:
            found[name] = check(name, parse_value(name, environment[variable]), variable)
    return found


def parse_value(name: str, text: str) -> Any:
    """The value that `text`, from a command line or a variable, has in a YAML file."""
    if name in RULES and RULES[name].kind is str:
        return text
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigurationSyntaxError(f"{name}: must be YAML, got {text!r}: {reason}") from None
