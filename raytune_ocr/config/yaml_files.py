"""Strict YAML: a doubled key is an error, `1e-6` is a number, nothing is executed."""

from __future__ import annotations

import io
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from raytune_ocr.errors import (
    ConfigurationNotFoundError,
    ConfigurationSyntaxError,
)


def load_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A YAML file's mapping: safe tags only, no doubled key, `1e-6` read as a number.

    Raises:
        ConfigurationNotFoundError: there is no such file.
        ConfigurationSyntaxError: it is not YAML, doubles a key or is no mapping; names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationSyntaxError(f"{path}: must be UTF-8 text: {error}") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationNotFoundError(f"{path}: no such configuration file ({reason})") from None
    try:
        content = yaml.load(_named(text, path), Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ConfigurationSyntaxError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ConfigurationSyntaxError(f"{path}: must be a mapping of keys to values, got {got}")
    return content


def to_yaml(content: Any) -> str:
    """YAML of plain values, in their order; by libyaml, four times as fast, where it is there."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True)


def _named(text: str, path: str | os.PathLike[str]) -> io.StringIO:
    """A stream by whose name PyYAML tells the place of an error."""
    stream = io.StringIO(text)
    stream.name = str(path)
    return stream


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, with numbers as YAML 1.2 has them and no doubled keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
