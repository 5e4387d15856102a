"""Read strict YAML: YAML 1.2 numbers, no duplicate keys, bounded size, no code execution."""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from raytune_ocr.errors import (
    ConfigurationNotFoundError,
    ConfigurationSyntaxError,
)

MOST_NODES = 100_000
"""Limit of keys and values in a document; an alias counts as its expansion."""

DEEPEST_NESTING = 100
"""Limit of nested lists and mappings."""

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"^[-+]?[0-9](?:_?[0-9])*$|^0o[0-7]+$|^0x[0-9a-fA-F]+$")
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9](?:_?[0-9])*\.[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"
    r"|^[-+]?[0-9]+[eE][-+]?[0-9]+$"
    r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
)
_BROKEN = (
    *(yaml.YAMLError, ValueError, TypeError, ArithmeticError),
    *(LookupError, AttributeError, RecursionError),
)
"""Exceptions of PyYAML for a broken document: `!!bool maybe` is a KeyError, for example."""


class YamlDocument(dict[str, Any]):
    """The mapping in a YAML file.

    Attributes:
        anchored: its keys with an anchor in their values, which other parts may merge from.
    """

    def __init__(self, content: Mapping[str, Any], anchored: frozenset[str] = frozenset()) -> None:
        super().__init__(content)
        self.anchored = anchored


def load_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the mapping in a YAML file; see `load_document`."""
    return dict(load_document(path))


def load_document(path: str | os.PathLike[str]) -> YamlDocument:
    """Read the mapping in a YAML file: safe tags, no duplicate keys, `1e-6` as a number.

    Raises:
        ConfigurationNotFoundError: there is no such file.
        ConfigurationSyntaxError: it is not YAML, not a mapping, too large or has duplicate keys.
    """
    try:
        text = _text_of_pipe(str(path)) if Path(path).is_fifo() else _text_of(path)
    except UnicodeDecodeError as error:
        raise ConfigurationSyntaxError(f"{path}: must be UTF-8 text: {error}") from None
    except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationNotFoundError(f"{path}: no such configuration file ({reason})") from None
    content, anchored = _parse(text, path, StrictLoader, MOST_NODES)
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ConfigurationSyntaxError(f"{path}: must be a mapping of keys to values, got {got}")
    return YamlDocument(content, anchored)


def _text_of(path: str | os.PathLike[str]) -> str:
    return Path(path).read_text(encoding="utf-8")


_text_of_pipe = functools.cache(_text_of)
"""A pipe can be read once; its text is kept for whoever asks for it again."""


def parse_yaml(
    text: str,
    name: str | os.PathLike[str],
    loader: type[Any] | None = None,
    most_nodes: int = MOST_NODES,
) -> Any:
    """Return the value of a YAML document within the limits of nodes and nesting.

    Args:
        name: of the file, for messages.
        loader: a safe loader class of PyYAML; default: `StrictLoader`.
        most_nodes: keys and values that the document may have, aliases expanded.

    Raises:
        ConfigurationSyntaxError: naming the file and the line or the limit.
    """
    return _parse(text, name, loader or StrictLoader, most_nodes)[0]


def _parse(
    text: str, name: str | os.PathLike[str], loader: type[Any], most_nodes: int
) -> tuple[Any, frozenset[str]]:
    """Return the value of a document, and its top-level keys with anchors (of `StrictLoader`)."""
    stream = io.StringIO(text)
    stream.name = str(name)  # PyYAML names it in its messages
    try:
        reader = loader(stream)
        try:
            if isinstance(reader, StrictLoader):
                reader.most_nodes = most_nodes
            node = reader.get_single_node()
            _check_size(node, most_nodes)
            value = None if node is None else reader.construct_document(node)
            return value, frozenset(getattr(reader, "anchored", ()))
        finally:
            reader.dispose()
    except _BROKEN as error:
        raise ConfigurationSyntaxError(f"{name}: not valid YAML: {error}") from None


def to_yaml(content: Any) -> str:
    """Write plain values as YAML that `load_yaml` reads back as the same values, in their order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def to_yaml_line(content: Any) -> str:
    """Write plain values as YAML in one line: `{batch_size: 32, betas: [0.9, 0.99]}`."""
    text = yaml.dump(
        content,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True,
        width=2**31 - 1,
    )
    return text.removesuffix("...\n").rstrip("\n")


def _check_size(root: yaml.Node | None, most_nodes: int) -> None:
    """Raise ValueError for too many nodes, too deep ones, or an anchor within itself."""
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        known = sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in open_nodes:
            raise ValueError("an anchor must not contain an alias of itself")
        _check_nesting(depth)
        open_nodes.add(id(node))
        total = 1 + sum(size(child, depth + 1) for child in _children(node))
        open_nodes.remove(id(node))
        if total > most_nodes:
            raise ValueError(
                f"must have at most {most_nodes:,} keys and values after its aliases are "
                f"expanded, got {total:,} or more"
            )
        sizes[id(node)] = total
        return total

    if root is not None:
        size(root, 0)


def _check_nesting(depth: int) -> None:
    if depth > DEEPEST_NESTING:
        raise ValueError(f"must nest lists and mappings at most {DEEPEST_NESTING} deep")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _number_resolvers(
    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]], replace: bool
) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Replace YAML 1.1's numbers by YAML 1.2's, or add them."""
    numbers = (f"{_TAG}int", f"{_TAG}float")
    found = {
        first: [pair for pair in pairs if not (replace and pair[0] in numbers)]
        for first, pairs in resolvers.items()
    }
    for first in "-+.0123456789":
        found.setdefault(first, []).extend([(numbers[0], _INTEGER), (numbers[1], _FLOAT)])
    return found


class StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers, no doubled keys and bounded documents.

    `1:30` is text and not 90, `010` is ten and not eight, `1e-6` is a number.
    """

    yaml_implicit_resolvers = _number_resolvers(yaml.SafeLoader.yaml_implicit_resolvers, True)
    most_nodes = MOST_NODES

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.anchored: set[str] = set()
        self._nodes = 0
        self._depth = 0
        self._top_key = ""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose one node; stop before the document outgrows its limits."""
        self._nodes += 1
        if self._nodes > self.most_nodes:
            raise ValueError(f"must have at most {self.most_nodes:,} keys and values")
        self._depth += 1
        _check_nesting(self._depth - 1)
        self._find_anchor(index)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def _find_anchor(self, index: Any) -> None:
        """Note the top-level key that the next node belongs to, if the node has an anchor."""
        if self._depth == 2 and isinstance(index, yaml.ScalarNode):
            self._top_key = index.value
        event = self.peek_event()
        if self._depth >= 2 and event.anchor and not isinstance(event, yaml.AliasEvent):
            self.anchored.add(self._top_key)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping; raise ConstructorError for a duplicate key."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Construct an integer: decimal, `0o` octal or `0x` hexadecimal."""
        text = self.construct_scalar(node).replace("_", "")
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        """Construct a float; `.inf` and `.nan` included."""
        text = self.construct_scalar(node).replace("_", "").lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


StrictLoader.add_constructor(f"{_TAG}int", StrictLoader.construct_yaml_int)
StrictLoader.add_constructor(f"{_TAG}float", StrictLoader.construct_yaml_float)
StrictLoader.add_constructor(
    f"{_TAG}python/tuple",
    lambda loader, node: loader.construct_sequence(node),  # type: ignore[arg-type]
)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """PyYAML's safe dumper (libyaml's if present) that quotes text which would read as a number."""

    yaml_implicit_resolvers = _number_resolvers(yaml.SafeDumper.yaml_implicit_resolvers, False)
