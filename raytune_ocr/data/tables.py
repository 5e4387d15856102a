"""Read tables of files and labels with any common separator, header, encoding and line end."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_ocr.data.splits import is_split_header, letters_of, looks_like_a_split, split_of
from raytune_ocr.errors import DataLoaderError, DataNotFoundError

TABLE_SUFFIXES = (".csv", ".tsv", ".txt")
TABLE_STEMS = ("labels", "label", "metadata", "annotations", "gt")
"""Names of label tables in a folder."""
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
FILE_HEADERS = (
    *("image_path", "file", "filename", "path", "image", "file_path", "image_name", "image_file"),
    *("image_filename", "img", "img_path", "img_name", "images", "files", "picture", "photo"),
)
LABEL_HEADERS = (
    *("label", "text", "digits", "words", "labels", "word", "transcription", "transcript"),
    *("ground_truth", "gt", "caption", "target", "annotation", "number", "string", "sentence"),
)
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # by the first bytes; else UTF-8
_FILE_WORDS, _LABEL_WORDS = (
    {letters_of(name): rank for rank, name in enumerate(names)}
    for names in (FILE_HEADERS, LABEL_HEADERS)
)
RULE = (
    "must name the columns file,label[,split], with a comma, semicolon, tab or | between them"
    f" (file: also {', '.join(FILE_HEADERS[:6])}; label: also {', '.join(LABEL_HEADERS[1:6])})"
)


@dataclass(frozen=True)
class Row:
    """One line of a table or one sample of a metadata file, with its place."""

    place: str
    file: str | None
    label: str | None
    split: str | None = None


@dataclass(frozen=True)
class Table:
    """A table's rows and header.

    Attributes:
        has_splits: whether a column names the split of each row.
        unused: headers of columns that are not read.
    """

    rows: Sequence[Row]
    has_splits: bool
    unused: Sequence[str]


def find_table(folder: Path) -> Path | None:
    """Return the table of labels in a folder, `labels.csv` in any spelling, or None.

    Raises:
        DataLoaderError: when there are several.
    """
    for stem in TABLE_STEMS:
        found = [
            path
            for path in sorted(folder.iterdir())
            if path.stem.casefold() == stem and path.suffix.lower() in TABLE_SUFFIXES
        ]
        exact = [path for path in found if path.name == f"{stem}.csv"]
        if len(found) > 1 and not exact:
            names = ", ".join(path.name for path in found)
            raise DataLoaderError(f"{folder}: must have one table of labels, got {names}")
        if found:
            return (exact or found)[0]
    return None


def row_of(content: Mapping[Any, Any], place: str) -> Row:
    """The file and the label that a mapping names, by the same headers as a table's."""
    words = {letters_of(str(key)): value for key, value in content.items() if value is not None}

    def first(known: Mapping[str, int]) -> str | None:
        names = sorted((name for name in words if name in known), key=known.__getitem__)
        return str(words[names[0]]) if names else None

    return Row(place, first(_FILE_WORDS) or None, first(_LABEL_WORDS))


def read_table(path: Path) -> Table:
    """A table with a header.

    Raises:
        DataNotFoundError: when there is no such file.
        DataLoaderError: when it is no table, its header lacks a column, or a row has more fields
            than the header.
    """
    lines = _lines(path)
    if not lines:
        return Table([], False, [])
    (first, header), *body = lines
    columns = _Columns(path, first, header, [fields for _, fields in body])
    problems = [columns.problem(number, fields) for number, fields in body]
    if found := [problem for problem in problems if problem]:
        raise DataLoaderError(shortened_lines(found))
    rows = [columns.row(number, fields) for number, fields in body]
    return Table(rows, columns.split is not None, columns.unused)


def shortened_lines(problems: Sequence[str], limit: int = 10) -> str:
    """Return the first problems, one per line, and how many more there are."""
    more = f"\nand {len(problems) - limit} more" if len(problems) > limit else ""
    return "\n".join(problems[:limit]) + more


class _Columns:
    """The columns of a table.

    Raises:
        DataLoaderError: a column is missing, or a column that looks like splits is not one.
    """

    def __init__(
        self, path: Path, line: int, header: list[str], body: Sequence[Sequence[str]]
    ) -> None:
        self.path = path
        self.names = header
        words = [letters_of(name) for name in header]
        self.file = _best(words, _FILE_WORDS)
        self.label = _best(words, _LABEL_WORDS)
        if self.file is None or self.label is None:
            raise DataLoaderError(f"{path}: line {line}: {RULE}, got {header}")
        others = [at for at in range(len(header)) if at not in (self.file, self.label)]
        self.split = self._split_column(line, others, body)
        self.unused = [header[at] for at in others if at != self.split and header[at].strip()]

    def _split_column(
        self, line: int, others: Sequence[int], body: Sequence[Sequence[str]]
    ) -> int | None:
        named = [at for at in others if is_split_header(self.names[at])]
        if not named:
            named = [at for at in others if _holds_splits([row[at : at + 1] for row in body])]
        if len(named) > 1:
            names = [self.names[at] for at in named]
            raise DataLoaderError(
                f"{self.path}: line {line}: must have only one split column, got {names}"
            )
        doubtful = [self.names[at] for at in others if looks_like_a_split(self.names[at])]
        if doubtful and not named:
            raise DataLoaderError(
                f"{self.path}: line {line}: the column {doubtful[0]!r} looks like a split "
                "column, but not every row has train, val or test; complete it and rename it to "
                "`split`, or rename it to something else"
            )
        return named[0] if named else None

    def problem(self, line: int, fields: Sequence[str]) -> str:
        """Return the problem with the number of a row's fields, or ""."""
        if not any(field.strip() for field in fields[len(self.names) :]):
            return ""
        return (
            f"{self.path}: line {line}: must have the {len(self.names)} fields of the header, got "
            f"{len(fields)}: {list(fields)}; put quotes around a field with a separator in it"
        )

    def row(self, line: int, fields: Sequence[str]) -> Row:
        """Return a row; None for empty or missing fields."""

        def field(at: int | None) -> str | None:
            return fields[at] if at is not None and at < len(fields) else None

        split = (field(self.split) or "").strip() or None
        return Row(f"{self.path}: line {line}", field(self.file) or None, field(self.label), split)


def _best(words: Sequence[str], known: Mapping[str, int]) -> int | None:
    """The column with the name that is the first of those known; None without any."""
    found = [at for at, word in enumerate(words) if word in known]
    return min(found, key=lambda at: known[words[at]], default=None)


def _holds_splits(cells: Sequence[Sequence[str]]) -> bool:
    """Whether a column has a split in each row, and more than one of them."""
    splits = {split_of(cell[0]) if cell else None for cell in cells}
    return None not in splits and len(splits) > 1


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the fields of each non-empty line, with its number."""
    text = _text(path)
    first, _, rest = text.partition("\n")
    header = first.strip().casefold()
    skipped = 0
    if header.startswith("sep=") and len(header) == 5:  # Excel's line with the separator
        separator, text, skipped = first.strip()[4], rest, 1
    else:
        separator = _separator(first)
    reader = csv.reader(io.StringIO(text), delimiter=separator, strict=False)
    try:
        return [
            (reader.line_num + skipped, fields)
            for fields in reader
            if any(field.strip() for field in fields)
        ]
    except csv.Error as error:
        line = reader.line_num + skipped
        raise DataLoaderError(
            f"{path}: line {line}: cannot be parsed as a table: {error}"
        ) from None


def _text(path: Path) -> str:
    """A table's text with `\\n` at the end of each line."""
    if not path.is_file():
        raise DataNotFoundError(f"{path}: no such table")
    content = path.read_bytes()
    try:
        text = content.decode(ENCODINGS.get(content[:2], "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataLoaderError(f"{path}: must be a UTF-8 CSV: {error}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separator(header: str) -> str:
    """Return the separator with which the header has most of the known columns."""

    def worth(separator: str) -> tuple[int, int]:
        words = [letters_of(name) for name in next(csv.reader([header], delimiter=separator), [])]
        known = sum(_best(words, names) is not None for names in (_FILE_WORDS, _LABEL_WORDS))
        return known, len(words)

    return max(SEPARATORS, key=worth)
