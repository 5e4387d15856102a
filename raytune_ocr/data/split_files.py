"""From files to packed splits: metadata YAML, tables and folders per class.

Every fault is told with its file, place, rule and value. A few unreadable images are skipped
and counted; more than 1 % of a split is an error.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from PIL import Image

from raytune_ocr.config.yaml_files import parse_yaml
from raytune_ocr.data.images import UNREADABLE, to_canvas
from raytune_ocr.data.packed import PackedSplit
from raytune_ocr.errors import (
    ConfigurationSyntaxError,
    DataLoaderError,
    DataNotFoundError,
    unknown_name,
)
from raytune_ocr.vocabulary import DIGITS, encode

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")
SPLIT_ALIASES = {"valid": "val", "validation": "val"}
TABLE_NAME = "labels.csv"
METADATA_NAME = "metadata.yaml"
BAD_SHARE = 0.01  # of a split may be unreadable
SPLIT_SHARES = (0.8, 0.1)  # train, val; the rest is test
SPLIT_SEED = 0
PATH_KEYS = ("image_path", "file", "filename", "path", "image")
LABEL_KEYS = ("label", "text", "digits")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


class Sample(NamedTuple):
    """One labelled file and where it was named."""

    path: Path
    text: str
    place: str


def load_splits(
    path: str | os.PathLike[str],
    splits: Sequence[str] = ("train", "val"),
    *,
    allow_outside: bool = False,
    num_workers: int = 0,
) -> dict[str, PackedSplit]:
    """Several splits by name; see `load_split`."""
    found = find_samples(Path(path), allow_outside)
    return {name: _pack(path, name, found, num_workers) for name in splits}


def load_split(
    path: str | os.PathLike[str],
    split: str = "train",
    *,
    allow_outside: bool = False,
    num_workers: int = 0,
) -> PackedSplit:
    """One split, decoded and packed.

    Args:
        path: a `metadata.yaml`, a `labels.csv`, a folder that holds either, or a folder per
            class (`0`-`9`, also below `train`, `val` and `test`). Where the data names no
            splits, a fixed shuffle gives 80 % to train, 10 % to val, 10 % to test.
        split: its name.
        allow_outside: accept image paths that leave both the data's folder and the working one.
        num_workers: threads that decode.

    Raises:
        DataNotFoundError: when `path` does not exist.
        DataLoaderError: for labels, paths or images that break a rule, or an empty split.
    """
    return load_splits(path, [split], allow_outside=allow_outside, num_workers=num_workers)[split]


def split_sizes(path: str | os.PathLike[str], allow_outside: bool = False) -> dict[str, int]:
    """Images by name of split, as `load_split` would find them; none is opened.

    Raises:
        DataLoaderError: as `load_split`.
    """
    found = find_samples(Path(path), allow_outside)
    return {name: len(samples) for name, samples in found.items() if samples}


def dataset_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a set's `metadata.yaml` says of it (`generator`, `faces`, ...); {} in other layouts."""
    file = Path(path) / METADATA_NAME if Path(path).is_dir() else Path(path)
    if file.suffix not in (".yaml", ".yml") or not file.is_file():
        return {}
    info = _read_metadata(file).get("dataset_info")
    return dict(info) if isinstance(info, Mapping) else {}


def find_samples(path: Path, allow_outside: bool) -> dict[str, list[Sample]]:
    """Samples by split, labels checked, images not opened yet."""
    if not path.exists():
        raise DataNotFoundError(f"{path}: no such data file or folder")
    if path.is_dir():
        if (path / METADATA_NAME).is_file():
            return _from_metadata(path / METADATA_NAME, allow_outside)
        if (path / TABLE_NAME).is_file():
            return _from_table(path / TABLE_NAME, allow_outside)
        return _from_class_folders(path)
    if path.suffix == ".csv":
        return _from_table(path, allow_outside)
    if path.suffix in (".yaml", ".yml"):
        return _from_metadata(path, allow_outside)
    raise DataLoaderError(
        f"{path}: must be a metadata .yaml, a labels .csv or a folder, got {path.suffix or 'none'}"
    )


# metadata.yaml


MOST_NODES = 10_000_000
"""Keys and values of a metadata file, about a million samples."""


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


def _read_metadata(path: Path) -> dict[Any, Any]:
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


def _from_metadata(path: Path, allow_outside: bool) -> dict[str, list[Sample]]:
    content = _read_metadata(path)
    sections = {key: value for key, value in content.items() if key != "dataset_info"}
    found: dict[str, list[Sample]] = {}
    for key, section in sections.items():
        if isinstance(section, (dict, list)):
            name = SPLIT_ALIASES.get(key, str(key))
            samples = _from_section(path, str(key), section, allow_outside)
            found.setdefault(name, []).extend(samples)
    return found


def _from_section(
    path: Path, name: str, section: Mapping[str, Any] | list[Any], allow_outside: bool
) -> list[Sample]:
    if isinstance(section, Mapping):
        table = section.get("table")
        if table is not None:
            (file,) = _resolve([str(table)], path, f"{path}: {name}.table", allow_outside)
            rows = _table_rows(file)
            return _samples(rows, file, allow_outside, base=path)
        section = section.get("samples", [])
    if not isinstance(section, list):
        got = type(section).__name__
        raise DataLoaderError(f"{path}: {name}.samples: must be a list of samples, got {got}")
    rows = [(f"{path}: {name}.samples[{i}]", row) for i, row in enumerate(section)]
    return _samples(rows, path, allow_outside)


# labels.csv


def _from_table(path: Path, allow_outside: bool) -> dict[str, list[Sample]]:
    rows = _table_rows(path)
    samples = _samples(rows, path, allow_outside)
    if not any("split" in row for _, row in rows):
        return _shuffled_splits(samples)
    found: dict[str, list[Sample]] = {}
    for sample, (_, row) in zip(samples, rows, strict=True):
        name = str(row.get("split") or "train").strip()
        found.setdefault(SPLIT_ALIASES.get(name, name), []).append(sample)
    return found


def _table_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Rows of a CSV with a header, each with its place."""
    if not path.is_file():
        raise DataNotFoundError(f"{path}: no such table")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(f"{path}: line {reader.line_num}", row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataLoaderError(f"{path}: must be a UTF-8 CSV: {error}") from None
    header = list(rows[0][1]) if rows else []
    if rows and not ({*PATH_KEYS} & {*header} and {*LABEL_KEYS} & {*header}):
        raise DataLoaderError(
            f"{path}: line 1: must name the columns file,label[,split], got {header}"
        )
    return rows


def _samples(
    rows: Iterable[tuple[str, Any]], path: Path, allow_outside: bool, base: Path | None = None
) -> list[Sample]:
    """Check labels and resolve paths; all faults at once, ten of them told."""
    samples, problems = [], []
    roots = _roots(base or path)
    for place, row in rows:
        try:
            name, text = _entry(row, place)
            file = _inside(name, roots, place, allow_outside)
            samples.append(Sample(file, text, place))
        except DataLoaderError as error:
            problems.append(str(error))
    if problems:
        more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataLoaderError("\n".join(problems[:10]) + more)
    return samples


def _entry(row: Any, place: str) -> tuple[str, str]:
    """File name and checked label of one row."""
    if not isinstance(row, Mapping):
        raise DataLoaderError(f"{place}: must be a mapping with a file and a label, got {row!r}")
    name = next((row[key] for key in PATH_KEYS if row.get(key)), None)
    text = next((row[key] for key in LABEL_KEYS if row.get(key) is not None), None)
    if name is None or text is None:
        missing = f"file (one of {', '.join(PATH_KEYS)})" if name is None else "label"
        raise DataLoaderError(f"{place}: must name a {missing}, got {dict(row)!r}")
    text = str(text).strip()
    try:
        encode(text)
    except ValueError as error:
        raise DataLoaderError(f"{place}: {error}") from None
    return str(name), text


def _roots(path: Path) -> list[Path]:
    """Folders that image paths are relative to and may not leave."""
    return [path.parent.resolve(), Path.cwd().resolve()]


def _resolve(names: list[str], path: Path, place: str, allow_outside: bool) -> list[Path]:
    roots = _roots(path)
    return [_inside(name, roots, place, allow_outside) for name in names]


def _inside(name: str, roots: list[Path], place: str, allow_outside: bool) -> Path:
    """The file that `name` means: the first root that has it, else the first root's."""
    candidates = [root / name.replace("\\", "/") for root in roots]
    try:
        chosen = next((file for file in candidates if file.exists()), candidates[0])
        resolved = chosen.resolve()
    except (OSError, ValueError) as error:
        raise DataLoaderError(f"{place}: must name a file, got {name!r}: {error}") from None
    if not allow_outside and not any(resolved.is_relative_to(root) for root in roots):
        raise DataLoaderError(
            f"{place}: an image must lie in the data's folder or the working folder, got {name!r}; "
            "--allow-outside accepts it (raytune_ocr.train: "
            "--set 'dataset_options={allow_outside: true}')"
        )
    return resolved


# A folder per class


def _from_class_folders(path: Path) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for folder in visible(path):
        name = SPLIT_ALIASES.get(folder.name, folder.name)
        if name in SPLITS and folder.is_dir():
            found.setdefault(name, []).extend(_class_samples(folder))
    if not found:
        return _shuffled_splits(_class_samples(path))
    if "train" in found and "val" not in found:
        halves = _shuffled_splits(found["train"])
        found["val"] = halves["val"] + halves["test"]
        found["train"] = halves["train"]
    return found


def _class_samples(path: Path) -> list[Sample]:
    folders = [p for p in visible(path) if p.is_dir()]
    classes = {folder: _digit_of(folder.name) for folder in folders}
    if not any(classes.values()):
        raise DataLoaderError(
            f"{path}: must hold {METADATA_NAME}, {TABLE_NAME} or folders named 0-9 or {DIGITS}, "
            f"got {[folder.name for folder in folders] or 'none of them'}"
        )
    foreign = [folder.name for folder, digit in classes.items() if not digit]
    if foreign:
        raise DataLoaderError(
            f"{path}: class folders must be named 0-9 or {DIGITS}, got {foreign[0]!r}"
        )
    return [
        Sample(file, digit, str(folder))
        for folder, digit in classes.items()
        for file in visible(folder)
        if file.suffix.lower() in IMAGE_SUFFIXES
    ]


def visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted; names with a dot in front belong to tools, not to the data."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _digit_of(name: str) -> str:
    """The Khmer digit that a folder's name stands for, or ""."""
    if len(name) == 1 and name in DIGITS:
        return name
    return DIGITS[int(name)] if len(name) == 1 and name in "0123456789" else ""


def _shuffled_splits(samples: list[Sample]) -> dict[str, list[Sample]]:
    """80 % train, 10 % val, 10 % test; the same every time."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(samples))
    first = round(SPLIT_SHARES[0] * len(samples))
    second = first + round(SPLIT_SHARES[1] * len(samples))
    parts = np.split(order, [first, second])
    return {name: [samples[i] for i in part] for name, part in zip(SPLITS, parts, strict=True)}


# Decoding


def _pack(
    path: str | os.PathLike[str],
    split: str,
    found: Mapping[str, list[Sample]],
    num_workers: int,
) -> PackedSplit:
    name = SPLIT_ALIASES.get(split, split)
    if name not in found:
        raise DataLoaderError(f"{path}: {unknown_name('split', split, found)}")
    samples = found[name]
    if not samples:
        total = sum(map(len, found.values()))
        raise DataLoaderError(
            f"{path}: {split}: must hold at least one image, got none of {total} in all; bring "
            "more, or say which are its own: a column `split`, or folders train, val and test"
        )
    with ThreadPoolExecutor(max_workers=max(1, num_workers)) as threads:
        decoded = list(threads.map(_decode, samples))
    bad = [problem for problem in decoded if isinstance(problem, str)]
    if len(bad) > BAD_SHARE * len(samples):
        raise DataLoaderError(
            f"{path}: {split}: at most 1 % of the images may be unreadable, got {len(bad)} of "
            f"{len(samples)}:\n" + "\n".join(bad[:10])
        )
    for problem in bad:
        logger.warning("skipped %s", problem)
    if bad:
        logger.warning("%s: %s: skipped %d of %d images", path, split, len(bad), len(samples))
    good = [i for i, canvas in enumerate(decoded) if not isinstance(canvas, str)]
    images = np.stack([decoded[i] for i in good])  # type: ignore[misc]
    targets = np.array([encode(samples[i].text) for i in good], dtype=np.int64)
    return PackedSplit(images, targets, f"{path}: {split}")


def _decode(sample: Sample) -> np.ndarray | str:
    """The canvas, or what is wrong with the file."""
    try:
        with Image.open(sample.path) as image:
            return to_canvas(image)
    except FileNotFoundError:
        return f"{sample.place}: {sample.path}: no such image"
    except UNREADABLE as error:
        return f"{sample.place}: {sample.path}: not a readable image: {error}"
