"""Find the model and the images that a command line names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from raytune_ocr.data.folders import PassedOver, images_below
from raytune_ocr.errors import CheckpointError, DataLoaderError, DataNotFoundError
from raytune_ocr.inference.formats import ONNX, WEIGHTS
from raytune_ocr.results.run_folders import taken
from raytune_ocr.training.checkpoints.run_folder import RunFolder


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
    model = RunFolder(path.parent, path.name).best_model.relative_to(path)
    raise CheckpointError(f"{path}: contains no {model}, no export and no results JSON")


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
    """Return the model files that a trial's folder or an export may have."""
    best = RunFolder(folder.parent, folder.name).best_model
    return best, folder / WEIGHTS, folder / ONNX


def _checkpoint_in_results(path: Path) -> Path:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        named = (document.get("best_result") or {}).get("checkpoint")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such results file") from None
    except (ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a results JSON: {error}") from None
    if not named or not isinstance(named, str) or "\0" in named:
        raise CheckpointError(f"{path}: best_result has no checkpoint (did any trial complete?)")
    moved = Path(*Path(named).parts[-3:])  # with its trial's folder, beside results.json
    gone = ""
    for candidate in (Path(named), path.parent / named, path.parent / moved):
        why = taken(Path(*candidate.absolute().parts[:-3]), document)
        if candidate.is_file() and not why:
            return candidate
        gone = gone or why
    if gone:
        raise CheckpointError(f"{path}: {gone}")
    raise CheckpointError(
        f"{path}: best_result.checkpoint {named!r} does not exist; if the run was moved, name its "
        "output folder or the trial's folder instead"
    )


def find_images(sources: Iterable[str | Path], passed_over: PassedOver | None = None) -> list[Path]:
    """Files as they are named, and every image below a folder, sorted.

    Args:
        passed_over: pictures in folders that are of a kind that is not read are noted there.

    Raises:
        DataNotFoundError: for a path that does not exist, or when there is no image at all.
        DataLoaderError: for a results file, as a second one that a wildcard stands for.
    """
    passed_over = PassedOver() if passed_over is None else passed_over
    found: list[Path] = []
    for source in map(Path, sources):
        if source.suffix == ".json":
            raise DataLoaderError(
                f"{source}: must be an image or a folder of images, got a results file; name one "
                "model, for example the output folder of its run"
            )
        if source.is_dir():
            found.extend(images_below(source, passed_over))
        elif source.exists():
            found.append(source)
        else:
            raise DataNotFoundError(f"{source}: no such image or folder")
    if not found:
        others = "".join(f"; {line}" for line in passed_over.lines())
        raise DataNotFoundError(f"{', '.join(map(str, sources))}: contains no image{others}")
    return found
