"""Estimates for the page: importance of settings, and what the best reader misreads."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from typing import Any

from PIL import Image

from raytune_ocr.config.metrics import READER, task_name
from raytune_ocr.data.split_files import load_split
from raytune_ocr.errors import DataNotFoundError, RaytuneOCRError
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.inference.reading import read_images
from raytune_ocr.results.document import read_document
from raytune_ocr.results.importance import ESTIMATOR, FEWEST_TRIALS, importance
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.training import load_reader
from raytune_ocr.training.evaluate import measure

FORESTS = 5  # of fANOVA, each with another seed
TREES = 32
MOST_OF_FOREST = 500  # trials: its time grows faster than their number
LOG_FROM = 50  # the ratio of the largest to the smallest value, from which the scale is a log
WORST = 12
FEW = f"An estimate needs at least {FEWEST_TRIALS} trials with a score."


def importances(source: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return our estimate of importance, and Optuna's fANOVA where Optuna is installed.

    Args:
        source: an output folder or a results JSON.
        document: of its snapshot.

    Returns:
        `ours`: `setting`, `importance`, `low`, `high`, `chance`; `fanova`: `setting`,
        `importance`, `low` and `high` over forests of other seeds; `note`: why one is missing.
    """
    try:
        ours = importance(source)
    except RaytuneOCRError as error:
        return {"ours": [], "fanova": [], "note": str(error), "estimator": ESTIMATOR}
    fanova, note = fanova_of(document) if len(ours) else ([], FEW)
    return {
        "ours": finite(ours.to_dict("records")),
        "fanova": fanova,
        "note": note,
        "estimator": ESTIMATOR,
    }


def fanova_of(document: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return fANOVA's importance of each setting, and why there is none."""
    try:
        import optuna
        import sklearn  # noqa: F401, which Optuna needs for fANOVA alone
        from optuna.importance import FanovaImportanceEvaluator
    except ImportError:
        return [], "fANOVA needs Optuna and scikit-learn: pip install 'raytune-ocr[optuna]'"
    rows, drawn = _complete_rows(document)
    if len(rows) < FEWEST_TRIALS or not drawn:
        return [], FEW
    if len({row["score"] for row in rows}) == 1:
        return [], "All trials have the same score."
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize" if document["mode"] == "min" else "maximize")
    kinds = {name: _distribution([row[name] for row in rows]) for name in drawn}
    numeric = {n for n in drawn if all(_is_number(row[n]) for row in rows)}
    for row in rows:
        values = {n: float(row[n]) if n in numeric else str(row[n]) for n in drawn}
        study.add_trial(
            optuna.trial.create_trial(params=values, distributions=kinds, value=row["score"])
        )
    found = [
        optuna.importance.get_param_importances(
            study, evaluator=FanovaImportanceEvaluator(n_trees=TREES, seed=seed)
        )
        for seed in range(FORESTS)
    ]
    return [_spread(name, [each.get(name, 0.0) for each in found]) for name in found[0]], ""


def _complete_rows(document: dict[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the trials that have a score and every setting, and the settings that differ."""
    names = [each["id"] for each in document["columns"]]
    drawn = [each["id"] for each in document["columns"] if each["kind"] == "setting"]
    rows = [dict(zip(names, row, strict=True)) for row in document["trials"]]
    whole = [r for r in rows if r["score"] is not None and all(r[n] is not None for n in drawn)]
    if len(whole) > MOST_OF_FOREST:
        whole = random.Random(0).sample(whole, MOST_OF_FOREST)
    return whole, [name for name in drawn if len({str(row[name]) for row in whole}) > 1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _distribution(values: list[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(map(_is_number, values)):
        low, high = float(min(values)), float(max(values))
        return FloatDistribution(low, high, log=low > 0 and high / low > LOG_FROM)
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _spread(name: str, values: list[float]) -> dict[str, Any]:
    return {
        "setting": name.removeprefix("settings."),
        "importance": sum(values) / len(values),
        "low": min(values),
        "high": max(values),
    }


def reader_errors(source: Path, data: str | None = None) -> dict[str, Any]:
    """Return what the best reader misreads on its validation split.

    Args:
        data: images to read (default: the config's).

    Returns:
        `matrix` (row: the digit that was there, column: the digit that was read), `worst` (the
        wrong readings with the highest confidence, each with its image as a PNG), and counts.

    Raises:
        DataNotFoundError: the best trial is no reader.
    """
    path, document = read_document(source)
    config = (document.get("best_result") or {}).get("config") or {}
    if config and task_name(config) != READER:
        raise DataNotFoundError("Only readers of digits have a confusion matrix.")
    model, trained = load_reader(find_checkpoint(path))
    split = load_split(data or trained.metadata_path, trained.val_split)
    read = zip(read_images(model, split.images), split.texts, split.images, strict=True)
    wrong = [(sure, is_, was, image) for (is_, sure), was, image in read if is_ != was]
    worst = sorted(wrong, key=lambda each: -each[0])[:WORST]
    return {
        "trial": trained.experiment_name,
        "split": trained.val_split,
        "images": len(split),
        "wrong": len(wrong),
        "matrix": measure(model, split).get_confusion_matrix().tolist(),
        "worst": [
            {"confidence": float(sure), "read": is_, "there": was, "image": _png(image)}
            for sure, is_, was, image in worst
        ],
    }


def _png(image: Any) -> str:
    """Return a grey image uint8 [H, W] as a data URL."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
