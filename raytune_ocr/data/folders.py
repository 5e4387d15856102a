"""List the images of a folder, and the unused files with reasons."""

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
"""Suffixes of image files that Pillow opens."""
OTHER_PICTURES = frozenset(
    (
        *(".heic", ".heif", ".hif", ".jxl", ".jxr", ".svg", ".svgz", ".pdf", ".psd", ".xcf"),
        *(".eps", ".ps", ".djvu", ".exr", ".hdr", ".wmf", ".emf", ".raw", ".dng", ".cr2"),
        *(".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
    )
)
"""Suffixes of image files in formats that are not supported."""
TOOLS = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"))
"""Folders of systems and of network drives, besides hidden ones."""
SHOWN = 3  # names of unused files


def visible(folder: Path) -> list[Path]:
    """Return the content of a folder, sorted, without hidden and tools' files."""
    return sorted(path for path in folder.iterdir() if not is_of_a_tool(path.name))


def is_of_a_tool(name: str) -> bool:
    """Whether a name belongs to a system or an editor."""
    return name.startswith(".") or name.casefold() in TOOLS


@dataclass
class PassedOver:
    """The unused files of some data, by reason.

    Attributes:
        pictures: how many of the files are images in unsupported formats.
    """

    files: dict[str, list[str]] = field(default_factory=dict)
    pictures: int = 0

    def add(self, reason: str, names: Iterable[str | Path]) -> None:
        """Note files that are not used."""
        if names := [*map(str, names)]:
            self.files.setdefault(reason, []).extend(names)

    def lines(self) -> Iterator[str]:
        """Yield a line per reason: the number of files, the first ones, and the reason."""
        for reason, names in self.files.items():
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            yield f"{len(names)} not used, {reason}: {', '.join(names[:SHOWN])}{more}"


def images_below(folder: Path, passed_over: PassedOver | None = None) -> list[Path]:
    """Return every image in a folder and below it, sorted; links to folders are not followed.

    Args:
        passed_over: gets images in other formats, and other files by suffix.
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
    """Note files that are not used: images in other formats, and files that are not images."""
    for path in files:
        suffix = path.suffix.lower()
        if suffix in OTHER_PICTURES:
            passed_over.add(f"{suffix} is not supported; convert to PNG or JPEG", [path])
            passed_over.pictures += 1
        else:
            passed_over.add(f"not an image (suffix {suffix or 'missing'})", [path])


def holds_images(folder: Path) -> bool:
    """Whether a folder or a folder below it has an image."""
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_of_a_tool(name)]
        if any(not is_of_a_tool(n) and Path(n).suffix.lower() in IMAGE_SUFFIXES for n in names):
            return True
    return False


def counted(names: Iterable[str], limit: int = 12) -> str:
    """Return counts by name, in words: `cat 3, dog 5`."""
    counts = sorted(Counter(names).items())
    more = f" and {len(counts) - limit} more" if len(counts) > limit else ""
    return ", ".join(f"{name} {count}" for name, count in counts[:limit]) + more
