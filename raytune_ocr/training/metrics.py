"""Metrics of readers and classifiers. Only letters count as characters, not EOS, PAD and BLANK.

Predictions come as logits (float, [B, L, C] or, from a CTC reader, [B, T, C]) or as ids that
were decoded already (integers, [B, L]). Accuracies are fractions from 0 to 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from raytune_ocr.errors import ConfigurationError, DataLoaderError
from raytune_ocr.training.decoding import canonical_ids, class_table, decoded_ids
from raytune_ocr.vocabulary import (
    DEFAULT_IDX_TO_CHAR,
    EOS_TOKEN_ID,
    PAD_TOKEN_ID,
    Vocabulary,
)

DECODED_AT_ONCE = 32  # batches


def _aligned(predicted: Tensor, targets: Tensor, eos: int = EOS_TOKEN_ID) -> tuple[Tensor, Tensor]:
    """Both as [B, max L], the shorter filled with EOS."""
    missing = targets.shape[1] - predicted.shape[1]
    fill = torch.nn.functional.pad
    if missing > 0:
        return fill(predicted, (0, missing), value=eos), targets
    return predicted, fill(targets, (0, -missing), value=eos)


def calculate_character_accuracy(
    predictions: Tensor, targets: Tensor, pad_token_id: int = PAD_TOKEN_ID, kind: str = "attention"
) -> float:
    """Share of the targets' digits that are predicted at their position.

    Raises:
        DataLoaderError: when the targets hold no digit.
    """
    metrics = _metrics_of(predictions, targets, pad_token_id, EOS_TOKEN_ID, kind)
    return metrics.compute()["char_accuracy"]


def calculate_sequence_accuracy(
    predictions: Tensor,
    targets: Tensor,
    pad_token_id: int = PAD_TOKEN_ID,
    eos_token_id: int = EOS_TOKEN_ID,
    kind: str = "attention",
) -> float:
    """Return the sequence accuracy: the share of strings without an error.

    Raises:
        DataLoaderError: when there is no string.
    """
    return _metrics_of(predictions, targets, pad_token_id, eos_token_id, kind).sequence_accuracy()


def _metrics_of(
    predictions: Tensor, targets: Tensor, pad_token_id: int, eos_token_id: int, kind: str
) -> OCRMetrics:
    """Metrics of one batch; with other special ids, every other id is a letter."""
    letters: Mapping[int, str] = DEFAULT_IDX_TO_CHAR
    if (pad_token_id, eos_token_id) != (PAD_TOKEN_ID, EOS_TOKEN_ID):
        logits = predictions.is_floating_point()
        highest = predictions.shape[-1] - 1 if logits else int(predictions.max())
        ids = range(max(highest, int(targets.max())) + 1)
        letters = {i: chr(0xE000 + i) for i in ids if i not in (pad_token_id, eos_token_id)}
    metrics = OCRMetrics(letters, pad_token_id, eos_token_id, kind)
    metrics.update(predictions, targets)
    return metrics


def calculate_edit_distance(
    pred_sequences: Sequence[str], target_sequences: Sequence[str]
) -> float:
    """Mean Levenshtein distance of the pairs, each over its longer string: 0 to 1.

    Two empty strings have distance 0.

    Raises:
        ValueError: when the lists differ in length or are empty.
    """
    if len(pred_sequences) != len(target_sequences):
        raise ValueError(
            "pred_sequences and target_sequences must be equally long, got "
            f"{len(pred_sequences)} and {len(target_sequences)}"
        )
    distances = [
        Levenshtein.normalized_distance(predicted, wanted)
        for predicted, wanted in zip(pred_sequences, target_sequences, strict=True)
    ]
    return float(_share(sum(distances), len(distances), "string"))


def _share(part: float, whole: float, noun: str) -> float:
    if whole == 0:
        raise DataLoaderError(f"no {noun} to evaluate: the accuracy of an empty set is undefined")
    return part / whole


class OCRMetrics:
    """Counts over batches; `compute` gives the figures of all that was seen since `reset`.

    Args:
        idx_to_char: characters by id; those of `<EOS>`, `<PAD>` and `<BLANK>` may be in it.
        pad_token_id, eos_token_id: where they are not.
        kind: how logits are decoded, "attention" or "ctc".

    Raises:
        ConfigurationError: when an id is given two meanings, or is no integer >= 0.
    """

    def __init__(
        self,
        idx_to_char: Mapping[int, str] | None = None,
        pad_token_id: int = PAD_TOKEN_ID,
        eos_token_id: int = EOS_TOKEN_ID,
        kind: str = "attention",
    ) -> None:
        self.idx_to_char = dict(idx_to_char or DEFAULT_IDX_TO_CHAR)
        try:
            self.vocabulary = Vocabulary.of(self.idx_to_char, pad_token_id, eos_token_id)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.kind = kind
        self._letters = sorted(self.vocabulary.letters)
        self._classes = class_table(self.vocabulary)
        self.reset()

    @property
    def pad_token_id(self) -> int:
        """The id of PAD."""
        return self.vocabulary.pad

    @property
    def eos_token_id(self) -> int:
        """The id of EOS."""
        return self.vocabulary.eos

    def reset(self) -> None:
        """Reset all counts."""
        self._predicted: list[Tensor] = []
        self._wanted: list[Tensor] = []
        self._pending: list[tuple[Tensor, Tensor]] = []

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch of logits or ids and its targets [B, L]."""
        if self._pending and not _joinable(self._pending[-1], (predictions, targets)):
            self._decode()
        self._pending.append((predictions.detach(), targets.clone()))  # a loader may reuse them
        if len(self._pending) == DECODED_AT_ONCE:
            self._decode()

    def _decode(self) -> None:
        """Decode what is pending, together: batch by batch it takes a fiftieth of a step's time."""
        if not self._pending:
            return
        predictions, targets = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        self._pending.clear()
        predicted, wanted = _aligned(
            decoded_ids(predictions, self.kind, self.vocabulary),
            canonical_ids(targets, self.pad_token_id, self.eos_token_id),
            self.eos_token_id,
        )
        self._predicted.append(self._as_classes(predicted))
        self._wanted.append(self._as_classes(wanted))

    def _as_classes(self, ids: Tensor) -> Tensor:
        """Letters by their order, then the end, other ids and the blank: see `class_table`."""
        table = self._classes.to(ids.device)
        return table[ids.where(ids >= 0, ids.new_full((), len(table))).clamp(max=len(table) - 1)]

    def compute(self) -> dict[str, float]:
        """`char_accuracy`, `seq_accuracy`, `cer` (edits over target digits), `edit_distance`.

        Raises:
            DataLoaderError: when nothing was seen.
        """
        predicted, wanted = self._seen()
        letters = wanted < len(self._letters)
        right = predicted == wanted
        faulty = np.flatnonzero(~right.all(axis=1))
        pairs = [(self._string(predicted[i]), self._string(wanted[i])) for i in faulty]
        edits = sum(Levenshtein.distance(*pair) for pair in pairs)
        normalized = sum(Levenshtein.normalized_distance(*pair) for pair in pairs)
        return {
            "char_accuracy": float(_share((right & letters).sum(), letters.sum(), "digit")),
            "seq_accuracy": 1 - len(faulty) / len(wanted),
            "cer": edits / float(letters.sum()),
            "edit_distance": normalized / len(wanted),
        }

    def sequence_accuracy(self) -> float:
        """Return the share of strings without an error, empty ones included."""
        predicted, wanted = self._seen()
        return _share((predicted == wanted).all(axis=1).sum().item(), len(wanted), "string")

    def _string(self, classes: np.ndarray) -> list[int]:
        """Return the string of ids without EOS and blanks."""
        end = len(self._letters)
        return [index for index in classes.tolist() if index not in (end, end + 2)]

    def totals(self) -> tuple[int, int]:
        """Strings and digits that were there to read.

        Raises:
            DataLoaderError: when nothing was seen.
        """
        wanted = self._seen()[1]
        return len(wanted), int((wanted < len(self._letters)).sum())

    def get_confusion_matrix(self) -> np.ndarray:
        """Counts int64 [10, 10]: row the digit that was there, column the digit that was read.

        Positions where no digit was read stand in no column. Zeros when nothing was seen. Of
        another vocabulary, there is a row and a column for each letter, by its id.
        """
        size = len(self._letters)
        if not self._pending and not self._wanted:
            return np.zeros((size, size), np.int64)
        predicted, wanted = self._seen()
        both = (wanted < size) & (predicted < size)
        cells = wanted[both] * size + predicted[both]
        return np.bincount(cells, minlength=size**2).reshape(size, size)

    def get_per_class_accuracy(self) -> dict[str, float]:
        """Accuracy of each digit that occurs in the targets, by its character."""
        predicted, wanted = self._seen()
        right = predicted == wanted
        return {
            self.idx_to_char[letter]: float(right[wanted == index].mean())
            for index, letter in enumerate(self._letters)
            if (wanted == index).any()
        }

    def _seen(self) -> tuple[np.ndarray, np.ndarray]:
        self._decode()
        if not self._wanted:
            raise DataLoaderError("no string to evaluate: call update() with a batch first")
        predicted, wanted = torch.cat(self._predicted), torch.cat(self._wanted)
        if (wanted > len(self._letters)).any():
            raise DataLoaderError(
                "targets: must be ids of idx_to_char, EOS or PAD, got BLANK or an unknown id"
            )
        return predicted.cpu().numpy(), wanted.cpu().numpy()


def _joinable(some: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor]) -> bool:
    """Whether batches of predictions and targets differ in their number of samples alone."""
    pairs = zip(some, others, strict=True)
    return all(a.shape[1:] == b.shape[1:] and a.dtype == b.dtype for a, b in pairs)


def analyze_errors(predicted: Iterable[str], wanted: Iterable[str]) -> dict[str, Any]:
    """Analyse errors by the fewest edits that turn each prediction into its target.

    Returns:
        `errors` (faulty strings), `total`, `substitutions`, `insertions` (digits read that are
        not there), `deletions` (digits missed), `length_errors`, `confusions` (pairs
        "wanted->read", most frequent first), `by_length` (error share by target length) and
        `examples` (at most ten (wanted, read)).
    """
    pairs = list(zip(predicted, wanted, strict=True))
    faulty = [(read, target) for read, target in pairs if read != target]
    kinds: Counter[str] = Counter()
    confusions: Counter[str] = Counter()
    for read, target in faulty:
        for operation in Levenshtein.editops(target, read):
            kinds[operation.tag] += 1
            if operation.tag == "replace":
                confusions[f"{target[operation.src_pos]}->{read[operation.dest_pos]}"] += 1
    lengths = Counter(len(target) for _, target in pairs)
    faulty_lengths = Counter(len(target) for _, target in faulty)
    return {
        "errors": len(faulty),
        "total": len(pairs),
        "substitutions": kinds["replace"],
        "insertions": kinds["insert"],
        "deletions": kinds["delete"],
        "length_errors": sum(len(read) != len(target) for read, target in faulty),
        "confusions": dict(confusions.most_common()),
        "by_length": {n: faulty_lengths[n] / lengths[n] for n in sorted(lengths)},
        "examples": [(target, read) for read, target in faulty[:10]],
    }


def create_metrics_calculator(idx_to_char: Mapping[int, str], **kwargs: Any) -> OCRMetrics:
    """An `OCRMetrics`; keywords as its constructor has them."""
    return OCRMetrics(idx_to_char, **kwargs)


class ClassificationMetrics:
    """Top-1 accuracy, 0 to 1.

    `update` takes logits [B, C] and labels int64 [B].
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset all counts."""
        self.correct = 0
        self.total = 0

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Raises:
            DataLoaderError: when there is not one label for each row of logits.
        """
        if predictions.ndim != 2 or targets.shape != predictions.shape[:1]:
            raise DataLoaderError(
                "accuracy needs logits [B, C] and labels [B], got "
                f"{list(predictions.shape)} and {list(targets.shape)}"
            )
        self.correct += int((predictions.argmax(dim=1) == targets).sum())
        self.total += len(targets)

    def compute(self) -> dict[str, float]:
        """`accuracy`; raises DataLoaderError when nothing was seen."""
        return {"accuracy": _share(self.correct, self.total, "sample")}


class MetricsTracker:
    """Mean loss and accuracy in **percent** of what was seen since `reset`."""

    def __init__(self) -> None:
        self._accuracy = ClassificationMetrics()
        self.reset()

    def reset(self) -> None:
        """Reset all counts."""
        self._accuracy.reset()
        self._loss = 0.0

    def update(self, loss_value: float, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss, logits [B, C] and labels int64 [B]."""
        self._accuracy.update(outputs, labels)
        self._loss += float(loss_value) * len(labels)

    def get_metrics(self) -> dict[str, float]:
        """`loss`, `accuracy` (0 to 100), `total_samples`.

        Raises:
            DataLoaderError: when nothing was seen.
        """
        accuracy = self._accuracy.compute()["accuracy"]
        total = self._accuracy.total
        return {"loss": self._loss / total, "accuracy": 100 * accuracy, "total_samples": total}
