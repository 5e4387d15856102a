"""Names of metrics and their direction: the one place that says which of two values is better."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from raytune_ocr.errors import ConfigurationError

KHMER_DIGITS = "khmer_digits"
CLASSIFIER_MONITOR = "val_accuracy"  # for every other dataset

MONITORS = (
    "val_char_accuracy",
    "val_seq_accuracy",
    "val_cer",
    "val_loss",
    "train_char_accuracy",
    "train_loss",
)
"""What early stopping, the best checkpoint and the plateau schedule may follow."""

CLASSIFIER_MONITORS = (CLASSIFIER_MONITOR, "val_loss", "train_accuracy", "train_loss")
"""The same for datasets other than the digits."""

MODES = ("max", "min")


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOWER_IS_BETTER = _words_of(
    "loss error errors err cer wer ter mer mae mape smape mse rmse msle rmsle nll bpc bpb "
    "perplexity ppl distance brier ece deviance entropy crossentropy divergence kl hinge fid kid "
    "lpips eer fpr fnr regret latency seconds time epochs memory"
)
HIGHER_IS_BETTER = _words_of(
    "accuracy acc f1 fbeta precision recall sensitivity specificity tpr tnr auc auroc auprc ap map "
    "iou miou dice jaccard kappa mcc r2 correlation pearson spearman bleu rouge meteor chrf psnr "
    "ssim ndcg mrr likelihood similarity reward score throughput top1 top5"
)
LOWER_SUFFIXES = ("loss", "error", "distance", "perplexity")
HIGHER_SUFFIXES = ("accuracy",)
SPLITS = ("train", "val", "valid", "validation", "eval", "test", "dev", "best", "mean", "avg")


def known_mode(metric: str) -> str:
    """The direction in which a metric of this name improves, "min" or "max"; "" if unknown.

    The words of the name decide: `eval_mae` and `Loss/val` are lower is better, `val_F1` is higher
    is better. A word for an error wins (`brier_score`). A leading `neg` or `negative` turns the
    direction around (`neg_mean_squared_error`, `negative_log_likelihood`).
    """
    words = _words(metric)
    while words and words[0] in SPLITS:
        words = words[1:]
    negated = bool(words) and words[0] in ("neg", "negative")
    if any(word in LOWER_IS_BETTER or word.endswith(LOWER_SUFFIXES) for word in words):
        return "max" if negated else "min"
    if any(word in HIGHER_IS_BETTER or word.endswith(HIGHER_SUFFIXES) for word in words):
        return "min" if negated else "max"
    return ""


def _words(metric: str) -> list[str]:
    """The words of a name in lower case: `valLoss`, `val/loss` and `val_loss` have the same."""
    separated = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", metric)
    plain = [word for word in re.split(r"[^a-z0-9]+", metric.lower()) if word]
    parts = [word for word in re.split(r"[^a-z0-9]+", separated.lower()) if word]
    return list(dict.fromkeys([*parts, *plain]))  # `mIoU` is one word, `valLoss` two


def mode_of(metric: str, mode: str | None = None) -> str:
    """The direction in which a metric improves: `mode` where it is given, else by the name.

    Raises:
        ConfigurationError: when `mode` is neither "min" nor "max", or when it is not given and
            its name does not imply a direction.
    """
    if mode and mode not in MODES:
        raise ConfigurationError(f"mode: must be one of {', '.join(MODES)}, got {mode!r}")
    found = mode or known_mode(metric)
    if not found:
        raise ConfigurationError(
            f"mode: must be given for the metric {metric!r}, since its name does not imply whether "
            'lower or higher is better; set mode (early_stopping_mode in a config) to "min" or '
            '"max"'
        )
    return found


def score_of(value: float, mode: str) -> float:
    """`value` such that higher is better: negated where `mode` is "min"."""
    return value if mode == "max" else -value


def reaches(value: float, goal: float, mode: str) -> bool:
    """Whether `value` reaches `goal`; False for NaN."""
    return score_of(value, mode) >= score_of(goal, mode)


READER, CLASSIFIER = "reader", "classifier"
ANY = ("val_loss",)
"""The metric that is monitored by default if a task may report any metric."""


def task_name(values: Mapping[str, Any]) -> str:
    """Return the task of settings: by its name, by their trainable, else by the dataset."""
    if values.get("trainable"):
        return "function"
    digits = values.get("dataset_name", KHMER_DIGITS) == KHMER_DIGITS
    return values.get("task") or (READER if digits else CLASSIFIER)


def monitors_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What may be followed in the task that `values` ask for, the default first; `ANY`: anything.

    >>> monitors_of({"trainable": "my_train:finetune"})
    ('val_loss',)
    """
    return {READER: MONITORS, CLASSIFIER: CLASSIFIER_MONITORS}.get(task_name(values), ANY)
