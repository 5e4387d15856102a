"""Reads `metadata.yaml`: splits with their samples, or with the tables that name them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from raytune_ocr.config.yaml_files import parse_yaml
from raytune_ocr.data.samples import Sample, folders_of, resolved_inside, samples_of
from raytune_ocr.data.splits import splits_by_name
from raytune_ocr.data.tables import read_table, row_of
from raytune_ocr.errors import ConfigurationSyntaxError, DataLoaderError

METADATA_NAME = "metadata.yaml"
METADATA_SUFFIXES = (".yaml", ".yml")
MOST_NODES = 10_000_000
"""Keys and values of a metadata file, about a million samples."""


def metadata_in(folder: Path) -> Path | None:
    """Return the metadata file of a folder, `metadata.yaml` in any spelling, or None."""
    found = [
        path
        for path in folder.iterdir()
        if path.stem.casefold() == "metadata" and path.suffix.lower() in METADATA_SUFFIXES
    ]
    return min(found, key=lambda path: (path.name != METADATA_NAME, path.name), default=None)


class _MetadataLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The fast safe loader that also knows the original generator's tuples.

    Numbers stay text, since a label may begin with zeros: as a number, `012` would be ten.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, rule) for tag, rule in resolvers if not tag.endswith((":int", ":float"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_MetadataLoader.add_constructor(
    "tag:yaml.org,2002:python/tuple", lambda loader, node: loader.construct_sequence(node)
)


def read_metadata(path: Path) -> dict[Any, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        content = parse_yaml(text, path, _MetadataLoader, MOST_NODES)
    except UnicodeDecodeError as error:
        raise DataLoaderError(f"{path}: must be UTF-8 text: {error}") from None
    except ConfigurationSyntaxError as error:
        raise DataLoaderError(str(error)) from None
    if not isinstance(content, dict):
        raise DataLoaderError(f"{path}: must be a mapping, got {type(content).__name__}")
    return content


def samples_in_metadata(path: Path, allow_outside: bool) -> dict[str, list[Sample]]:
    content = read_metadata(path)
    sections = {
        str(key): value
        for key, value in content.items()
        if key != "dataset_info" and isinstance(value, (dict, list))
    }
    meaning = splits_by_name(sections)
    found: dict[str, list[Sample]] = {}
    for key, section in sections.items():
        samples = _from_section(path, key, section, allow_outside)
        found.setdefault(meaning[key], []).extend(samples)
    return found


def _from_section(
    path: Path, name: str, section: Mapping[str, Any] | list[Any], allow_outside: bool
) -> list[Sample]:
    if isinstance(section, Mapping):
        table = section.get("table")
        if table is not None:
            place = f"{path}: {name}.table"
            file = resolved_inside(str(table), folders_of(path), place, allow_outside)
            return samples_of(read_table(file).rows, path, allow_outside)
        section = section.get("samples", [])
    if not isinstance(section, list):
        got = type(section).__name__
        raise DataLoaderError(f"{path}: {name}.samples: must be a list of samples, got {got}")
    places = [f"{path}: {name}.samples[{at}]" for at in range(len(section))]
    for place, row in zip(places, section, strict=True):
        if not isinstance(row, Mapping):
            raise DataLoaderError(
                f"{place}: must be a mapping with a file and a label, got {row!r}"
            )
    return samples_of(map(row_of, section, places), path, allow_outside)
