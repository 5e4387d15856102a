"""Write the model card: training data, accuracy and limits of an exported model.

Every figure is computed from the run and the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from raytune_ocr.inference.calibration import (
    Calibration,
    cross_fitted,
    expected_error,
    fit,
    reliability,
)
from raytune_ocr.inference.card_code import (
    classifier_code,
    classifier_words,
    reader_code,
    reader_words,
)
from raytune_ocr.inference.reading import read_images
from raytune_ocr.statistics import wilson
from raytune_ocr.training import analyze_errors
from raytune_ocr.training.evaluate import counts, measure
from raytune_ocr.vocabulary import DIGITS, SEQUENCE_LENGTH

if TYPE_CHECKING:
    from torch import nn

    from raytune_ocr.config.training_config import TrainingConfig
    from raytune_ocr.data import PackedSplit
    from raytune_ocr.training.evaluate import Counts

MOST_CONFUSED = 3
FIGURES_HEAD = (
    "| split | share right of | value | 95 % (Wilson) | out of |",
    "|---|---|---|---|---|",
)
WEIGHTS = ("thin", "extralight", "light", "medium", "semibold", "bold", "extrabold", "black")
STYLES = frozenset((*WEIGHTS, "ultrablack", "regular", "italic", "condensed", "ultra-expanded"))
PLAIN = str.maketrans(DIGITS, "0123456789")


@dataclass(frozen=True)
class Validation:
    """How the model to ship reads the validation split.

    Attributes:
        counts: right strings and digits, out of all.
        by_length: right strings and all of them, by their number of digits.
        confusions: "there->read" and how often, the most frequent first.
        confidence: mean confidence of right and of wrong readings; None without any.
        calibration: of the confidences of `predict`, which looks twice.
        calibration_errors: expected ones, of confidences as they are and calibrated.
    """

    counts: Counts
    by_length: Mapping[int, tuple[int, int]]
    confusions: Sequence[tuple[str, int]]
    confidence: tuple[float | None, float | None]
    calibration: Calibration
    calibration_errors: tuple[float, float]


@dataclass(frozen=True)
class Data:
    """What the model was trained on.

    Attributes:
        name: its path.
        sizes: images by split.
        info: what its metadata says of itself (`generator`, `faces`), or nothing.
    """

    name: str
    sizes: Mapping[str, int]
    info: Mapping[str, Any]


def validate(model: nn.Module, split: PackedSplit) -> Validation:
    """Read the whole validation split."""
    readings = read_images(model, split.images)
    texts = split.texts
    lengths: dict[int, tuple[int, int]] = {}
    sure: tuple[list[float], list[float]] = ([], [])
    for (read, confidence), there in zip(readings, texts, strict=True):
        right, total = lengths.get(len(there), (0, 0))
        lengths[len(there)] = right + (read == there), total + 1
        sure[read != there].append(confidence)
    sureness, hits = confidences(model, split)
    errors = analyze_errors((read for read, _ in readings), texts)
    return Validation(
        counts(measure(model, split)),
        dict(sorted(lengths.items())),
        list(errors["confusions"].items())[:MOST_CONFUSED],
        (fmean(sure[0]) if sure[0] else None, fmean(sure[1]) if sure[1] else None),
        fit(sureness, hits),
        (
            expected_error(reliability(sureness, hits)),
            expected_error(reliability(cross_fitted(sureness, hits), hits)),
        ),
    )


def confidences(model: nn.Module, split: PackedSplit) -> tuple[list[float], list[bool]]:
    """Return `predict`'s confidence for each image of a split, and whether its reading is right."""
    readings = read_images(model, split.images, second_look=True)
    right = [read == there for (read, _), there in zip(readings, split.texts, strict=True)]
    return [confidence for _, confidence in readings], right


def model_card(
    config: TrainingConfig,
    data: Data,
    validation: Validation,
    files: Mapping[str, Any],
    document: Mapping[str, Any],
    kind: str = "attention",
    steps: int = SEQUENCE_LENGTH,
) -> str:
    """The card as Markdown.

    Args:
        files: what `export` returns: a mapping for each file, and `images_checked`.
        document: the results JSON of the run; empty for a model that no run recorded.
        kind: how logits are read, `ctc` or `attention`.
        steps: positions or columns of the logits.
    """
    best = document.get("best_result") or {}
    sections = {
        "Use": _use(reader_words(kind, steps), reader_code(kind)),
        "Data": _data(config, data),
        "Protocol": _protocol(config, document, best),
        "Metrics": _figures(config, validation, best),
        "Files": _files(files),
        "Limits": _limits(data, validation, best),
    }
    title = f"{config.experiment_name}: a Khmer digit recognition model"
    return _card(title, config, sections)


def classifier_card(
    config: TrainingConfig, data: Data, right: int, files: Mapping[str, Any]
) -> str:
    """The card of a classifier of images, as Markdown.

    Args:
        right: how many images of the validation split get their class.
        files: what `export` returns.
    """
    names, shape = config.class_names, config.image_shape
    total = data.sizes[config.val_split]
    figures = [
        *FIGURES_HEAD,
        _figure(config.val_split, "images", right / total, wilson(right, total), total),
        "",
        "The epoch was selected by the validation metric, which is therefore optimistic. "
        + precision_note(config),
    ]
    sections = {
        "Use": _use(classifier_words(names, shape), classifier_code(names, shape)),
        "Data": _data(config, data),
        "Metrics": "\n".join(figures),
        "Files": _files(files),
    }
    title = f"{config.experiment_name}: a classifier of images into {len(names)} classes"
    return _card(title, config, sections)


def _card(title: str, config: TrainingConfig, sections: Mapping[str, str]) -> str:
    head = (
        f"# {title}\n\n"
        f"Model `{config.model_name}`, loss `{config.loss_type}`; `config.yaml` has every "
        "setting.\n\n"
        "    python -m raytune_ocr.predict THIS_FOLDER IMAGES\n"
    )
    return head + "".join(f"\n## {name}\n{text}\n" for name, text in sections.items())


def _use(words: str, code: str) -> str:
    """Describe how to use `model.onnx` without this package."""
    return f"{words} With onnxruntime, NumPy and Pillow, `read(path)` of:\n\n```python\n{code}```"


def _data(config: TrainingConfig, data: Data) -> str:
    sizes = ", ".join(f"{count} {name}" for name, count in data.sizes.items())
    made = data.info.get("generator")
    origin = f" Made by `{made}`, seed {data.info.get('seed', 'not recorded')}." if made else ""
    return (
        f"`{data.name}`: {sizes} images.{origin} Trained on {_trained_on(config)}, "
        f"{'with' if config.augmentation else 'without'} augmentation."
    )


def _trained_on(config: TrainingConfig) -> str:
    """The training split, or what was composed instead of it."""
    options = config.dataset_options
    if not options.get("composed"):
        return f"`{config.train_split}`"
    parts = [f"{options['composed']} composed images per epoch, new ones in each"]
    if "variety" in options:
        parts.append(f"variety {options['variety']}")
    if options.get("leave_out"):
        parts.append(f"none of the families {', '.join(options['leave_out'])}")
    return ", ".join(parts)


def _protocol(config: TrainingConfig, document: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    if not best:
        return f"One training run, seed {config.seed}; no search was recorded."
    trials = document["all_results"]
    sentences = [
        f"The best of {len(trials)} trials ({document['experiments_completed']} completed) by "
        f"validation character accuracy, ties broken by sequence accuracy; seed {config.seed}, "
        f"epoch {best['best_epoch']} of {best['total_epochs']}, selected by "
        f"`{config.early_stopping_monitor}`."
    ]
    sentences.extend(_confirmed(document.get("confirmation") or {}, best["experiment_name"]))
    versions = document.get("environment") or {}
    if versions:
        sentences.append(f"Trained with torch {versions.get('torch')} on {versions.get('device')}.")
    return " ".join(sentences)


def _confirmed(confirmation: Mapping[str, Any], name: str) -> Iterator[str]:
    for candidate in confirmation.get("candidates", []):
        if candidate["experiment_name"] == name and candidate["mean"] is not None:
            seeds = len(candidate["scores"])
            spread = (
                "" if candidate["std"] is None else f", standard deviation {candidate['std']:.4f}"
            )
            yield (
                f"Trained again with {seeds} fresh seeds: mean `{confirmation['metric']}` "
                f"{candidate['mean']:.4f}{spread}. {confirmation.get('verdict', '')}"
            )


def _figures(config: TrainingConfig, validation: Validation, best: Mapping[str, Any]) -> str:
    right_strings, strings, right_digits, digits = validation.counts
    rows = [
        _figure(
            config.val_split,
            "strings",
            right_strings / strings,
            wilson(right_strings, strings),
            strings,
        ),
        _figure(
            config.val_split, "digits", right_digits / digits, wilson(right_digits, digits), digits
        ),
    ]
    for what, kind, total in (("strings", "seq", "images"), ("digits", "char", "digits")):
        name = f"test_{kind}_accuracy"
        if name in best:
            rows.append(
                _figure("test", what, best[name], best[f"{name}_interval"], best[f"test_{total}"])
            )
    return "\n".join(
        [
            *FIGURES_HEAD,
            *rows,
            "",
            "Digits of one string are not independent, so their interval is too narrow. The epoch "
            "and the winner were selected by the validation metrics, which are therefore "
            "optimistic; "
            + (
                "the test split was evaluated once, for this model, after that."
                if "test_seq_accuracy" in best
                else "no test split was evaluated."
            )
            + " All metrics are of a single pass over each image; "
            "`python -m raytune_ocr.predict` reads low-confidence images again at other scales. "
            + precision_note(config),
        ]
    )


def precision_note(config: TrainingConfig) -> str:
    """Return the precision of a card's metrics, and whether the run's own may differ."""
    if not config.mixed_precision:
        return "Evaluated in float32, as in the run."
    return (
        "Evaluated in float32; the run was set to mixed precision, so its own metrics may differ "
        "by a few images."
    )


def _figure(split: str, what: str, value: float, interval: Sequence[float], total: int) -> str:
    low, high = interval
    return f"| {split} | {what} | {value:.4f} | {low:.4f} to {high:.4f} | {total} |"


def _files(files: Mapping[str, Any]) -> str:
    rows = [
        f"| {name} | {row['bytes'] / 1e6:.2f} | {row['ms_one_image']:.1f} |"
        f" {row['images_per_second']:.0f} | {row['largest_difference']:.2g} |"
        for name, row in files.items()
        if isinstance(row, Mapping)
    ]
    return "\n".join(
        [
            "| file | MB | ms for one image | images/s (batch 64) | largest difference |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "Times: on the CPU of the exporting machine. Difference: the largest absolute "
            f"difference of a logit from PyTorch's, over {files['images_checked']} real images.",
        ]
    )


def _limits(data: Data, validation: Validation, best: Mapping[str, Any]) -> str:
    lengths = validation.by_length
    right, total = validation.counts[:2]
    worst = min(lengths, key=lambda length: lengths[length][0] / lengths[length][1])
    lines = [
        f"- {total - right} of {total} strings of the validation split were misread.",
        f"- Strings of {min(lengths)} to {max(lengths)} digits were evaluated; accuracy is lowest "
        f"for {worst} digits: {lengths[worst][0]} of {lengths[worst][1]} correct.",
        *_confusions(validation),
        _faces(data),
        "- Characters that are not digits are misread as digits.",
    ]
    gap = _gap(best)
    return "\n".join([*lines, gap] if gap else lines)


def _confusions(validation: Validation) -> Iterator[str]:
    if validation.confusions:
        confusions = ", ".join(
            f"{pair.translate(PLAIN).replace('->', ' as ')} ({times})"
            for pair, times in validation.confusions
        )
        yield f"- Most frequent confusions: {confusions}."
    right, wrong = validation.confidence
    if right is not None and wrong is not None:
        yield (
            f"- The probability of a prediction is on average {right:.2f} where it is right and "
            f"{wrong:.2f} where it is wrong."
        )
    before, after = validation.calibration_errors
    slope, offset = validation.calibration
    yield (
        "- `predict` gives calibrated confidence: Platt scaling of the probability, fitted on the "
        f"validation split (slope {slope:.3f}, offset {offset:.3f}). Expected calibration error "
        f"{before:.4f} before, {after:.4f} after, each half by the other half's fit; other kinds "
        "of images may need another fit."
    )


def _faces(data: Data) -> str:
    faces = data.info.get("faces")
    if not faces:
        return (
            "- The data does not name its fonts or writers; others than its own were not evaluated."
        )
    known = families(map(str, faces))
    return (
        f"- Printed digits of {len(faces)} faces in {len(known)} families: {', '.join(known)}. "
        "Other families and handwriting were not evaluated."
    )


def families(faces: Iterable[str]) -> list[str]:
    """Return the names of faces without styles and duplicates.

    >>> families(["Moul Regular", "Battambang Black Regular", "Battambang Bold"])
    ['Battambang', 'Moul']
    """
    found = set()
    for face in faces:
        words = face.split()
        while len(words) > 1 and words[-1].casefold() in STYLES:
            words.pop()
        found.add(" ".join(words))
    return sorted(found)


def _gap(best: Mapping[str, Any]) -> str:
    if "test_seq_accuracy" not in best or best.get("best_val_seq_accuracy") is None:
        return ""
    gap = best["best_val_seq_accuracy"] - best["test_seq_accuracy"]
    word = "lower" if gap > 0 else "higher"
    how = f"{abs(gap):.4f} {word} than" if gap else "equal to"
    return f"- The sequence accuracy on the test split is {how} that on validation."
