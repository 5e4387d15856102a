"""Check the labels of rows and resolve their files."""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from raytune_ocr.data.tables import Row, shortened_lines
from raytune_ocr.errors import DataLoaderError
from raytune_ocr.vocabulary import decode, encode


class Sample(NamedTuple):
    """One labelled file and where it was named.

    Attributes:
        key: its path below the data folder, which chooses its split if none is given.
    """

    path: Path
    text: str
    place: str
    key: str = ""


def samples_of(rows: Iterable[Row], path: Path, allow_outside: bool) -> list[Sample]:
    """Check labels and resolve paths; report all problems at once, ten of them in full."""
    samples, problems = [], []
    roots = folders_of(path)
    for row in rows:
        try:
            name, text = _entry(row)
            file = resolved_inside(name, roots, row.place, allow_outside)
            samples.append(Sample(file, text, row.place, _key(file, name, roots[0])))
        except DataLoaderError as error:
            problems.append(str(error))
    if problems:
        raise DataLoaderError(shortened_lines(problems))
    return samples


def _entry(row: Row) -> tuple[str, str]:
    """Return the file name and the checked label of a row, in Khmer digits."""
    if row.file is None or row.label is None:
        missing, there = ("file", row.label) if row.file is None else ("label", row.file)
        raise DataLoaderError(f"{row.place}: must name a {missing}, got only {there!r}")
    text = row.label.strip()
    try:
        return row.file, decode(encode(text))
    except ValueError as error:
        raise DataLoaderError(f"{row.place}: {error}") from None


def _key(file: Path, name: str, root: Path) -> str:
    """Return the key of a file for its split: its path below the data folder, or its name."""
    if file.is_relative_to(root):
        return file.relative_to(root).as_posix()
    return posixpath.normpath(name.replace("\\", "/"))


def folders_of(path: Path) -> list[Path]:
    """Return the folders that image paths are relative to and must not leave."""
    return [path.parent.resolve(), Path.cwd().resolve()]


def resolved_inside(name: str, roots: list[Path], place: str, allow_outside: bool) -> Path:
    """Return the file `name` in the first root that has it, else in the first root.

    Names that differ only by Unicode form (NFC, NFD) are the same file.
    """
    plain = [text.replace("\\", "/") for text in (name, name.strip())]
    others = [unicodedata.normalize(form, plain[1]) for form in ("NFC", "NFD")]
    forms = dict.fromkeys([*plain, *others])
    candidates = [root / form for root in roots for form in forms]
    try:
        chosen = next((file for file in candidates if file.exists()), candidates[0])
        resolved = chosen.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataLoaderError(f"{place}: must name a file, got {name!r}: {error}") from None
    if not allow_outside and not any(resolved.is_relative_to(root) for root in roots):
        raise DataLoaderError(
            f"{place}: an image must be in the data folder or the working folder, got {name!r}; to "
            "accept it, pass --allow-outside (raytune_ocr.train: "
            "--set 'dataset_options={allow_outside: true}')"
        )
    return resolved
