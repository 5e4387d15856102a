"""Finds the model and the images that a command line names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_ocr.errors import (
    CheckpointError,
    DataLoaderError,
    DataNotFoundError,
)

if TYPE_CHECKING:
    pass


IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}


def find_checkpoint(source: str | Path) -> Path:
    """The checkpoint that a results JSON, an output folder or a checkpoint path stands for.

    Raises:
        CheckpointError: when there is none, or another run has taken the folder; says what was
            looked for.
    """
    path = Path(source)
    results = find_results(path)
    if results is not None:
        return _checkpoint_in_results(results)
    if not path.is_dir():
        return path
    for file in _models_in(path):
        if file.exists():
            return file
    raise CheckpointError(f"{path}: holds no checkpoints/best_model.pt, no export and no JSON")


def find_results(source: str | Path) -> Path | None:
    """The results JSON that a path is or holds; None where a model itself is meant."""
    path = Path(source)
    if not path.is_dir():
        return path if path.suffix == ".json" else None
    if any(file.exists() for file in _models_in(path)):
        return None
    files = sorted(path.glob("*.json"), key=lambda file: file.stat().st_mtime)
    return files[-1] if files else None


def _models_in(folder: Path) -> tuple[Path, ...]:
    """Where a trial's folder or an export keeps its model."""
    names = ("checkpoints/best_model.pt", "model.safetensors", "model.onnx")
    return tuple(folder / name for name in names)


def _checkpoint_in_results(path: Path) -> Path:
    from raytune_ocr.results.run_folders import taken

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        best = document.get("best_result") or {}
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such results file") from None
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a results JSON: {error}") from None
    named = best.get("checkpoint")
    if not named:
        raise CheckpointError(f"{path}: best_result names no checkpoint (did any trial complete?)")
    moved = Path(*Path(named).parts[-3:])  # with its trial's folder, beside results.json
    gone = ""
    for candidate in (Path(named), path.parent / named, path.parent / moved):
        told = taken(Path(*candidate.absolute().parts[:-3]), document)
        if candidate.is_file() and not told:
            return candidate
        gone = gone or told
    if gone:
        raise CheckpointError(f"{path}: {gone}")
    raise CheckpointError(
        f"{path}: best_result.checkpoint {named!r} does not exist; if the run was moved, name its "
        "output folder or the trial's folder instead"
    )


def find_images(sources: Iterable[str | Path]) -> list[Path]:
    """Files as they are named, and every image below a folder, sorted.

    Raises:
        DataNotFoundError: for a path that does not exist, or when there is no image at all.
        DataLoaderError: for a results file, as a second one that a wildcard stands for.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.suffix == ".json":
            raise DataLoaderError(
                f"{source}: must be an image or a folder of images, got a results file; name one "
                "model, for example the output folder of its run"
            )
        if source.is_dir():
            below = (path for path in source.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
            found.extend(sorted(below))
        elif source.exists():
            found.append(source)
        else:
            raise DataNotFoundError(f"{source}: no such image or folder")
    if not found:
        raise DataNotFoundError(f"{', '.join(map(str, sources))}: holds no image")
    return found
