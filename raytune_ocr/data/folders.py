"""What a folder of pictures holds: those to use, and what is passed over and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".bmp", ".dib", ".gif", ".tif"),
        *(".tiff", ".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".tga", ".jp2"),
        *(".j2k", ".ico"),
    )
)
"""Names of files that Pillow opens as pictures."""
OTHER_PICTURES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".svg", ".svgz", ".pdf", ".psd", ".xcf"),
        *(".eps", ".ps", ".djvu", ".exr", ".hdr", ".wmf", ".emf", ".raw", ".dng", ".cr2"),
        *(".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
    )
)
"""Names of files that hold pictures in a form that is not read here."""
TOOLS = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"))
"""Folders of systems and of network drives, besides those with a dot in front."""
SHOWN = 3  # names of what is passed over


def visible(folder: Path) -> list[Path]:
    """What a folder holds, sorted; names with a dot in front belong to tools, not to the data."""
    return sorted(path for path in folder.iterdir() if not is_of_a_tool(path.name))


def is_of_a_tool(name: str) -> bool:
    """Whether a name belongs to a system or an editor."""
    return name.startswith(".") or name.casefold() in TOOLS


@dataclass
class PassedOver:
    """What is not used of some data, by reason.

    Attributes:
        pictures: how many of the files are pictures of a kind that is not read.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    pictures: int = 0

    def add(self, reason: str, names: Iterable[str | Path]) -> None:
        """Note files that are not used."""
        if names := [*map(str, names)]:
            self.files.setdefault(reason, []).extend(names)

    def lines(self) -> Iterator[str]:
        """One line a reason: how many files, the first of them, and why."""
        for reason, names in self.files.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"{len(names)} not used, {reason}: {', '.join(names[:SHOWN])}{more}"


def images_below(folder: Path, passed_over: PassedOver | None = None) -> list[Path]:
    """Every image in a folder and those below it, sorted; links to folders are not followed.

    Args:
        passed_over: pictures of other kinds are noted there, and other files by their suffix.
    """
    images: list[Path] = []
    others: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_of_a_tool(name)]
        for name in names:
            if not is_of_a_tool(name):
                path = Path(where, name)
                (images if path.suffix.lower() in IMAGE_SUFFIXES else others).append(path)
    if passed_over is not None:
        note_others(sorted(others), passed_over)
    return sorted(images)


def note_others(files: Iterable[Path], passed_over: PassedOver) -> None:
    """Note files that are no images: pictures of other kinds by name, the rest likewise."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix in OTHER_PICTURES:
            passed_over.add(f"{suffix} is not read here; convert to PNG or JPEG", [path])
            passed_over.pictures += 1
        else:
            passed_over.add(f"no image by the suffix {suffix or '(none)'}", [path])


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder or below it."""
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_of_a_tool(name)]
        if any(not is_of_a_tool(n) and Path(n).suffix.lower() in IMAGE_SUFFIXES for n in names):
            return True
    return False


def counted(names: Iterable[str], limit: int = 12) -> str:
    """How often each name comes, in words: `cat 3, dog 5`."""
    counts = sorted(Counter(names).items())
    more = f" and {len(counts) - limit} more" if len(counts) > limit else ""
    return ", ".join(f"{name} {count}" for name, count in counts[:limit]) + more
