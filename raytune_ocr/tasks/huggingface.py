"""The trainer of Hugging Face in a training function (extra `huggingface`).

    def train(parameters, context):
        trial = TrialCallback(context)
        arguments = TrainingArguments(**training_options(context, folder), **parameters)
        trainer = Trainer(model, arguments, ..., callbacks=[trial])
        trainer.train(resume_from_checkpoint=trial.checkpoint)

Every epoch is reported with the metrics of its evaluation under Hugging Face's names (`eval_loss`),
and its own checkpoint is kept for a resume.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from raytune_ocr.errors import ConfigurationError

if TYPE_CHECKING:
    from raytune_ocr.tasks.context import FunctionContext

EACH_EPOCH = "epoch"
NO_METRICS = ("epoch", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")


def training_options(context: FunctionContext, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a trial asks of `TrainingArguments`.

    Args:
        folder: an empty one, for the checkpoints of this process.
    """
    return {
        "output_dir": str(folder),
        "num_train_epochs": context.epochs,
        "eval_strategy": EACH_EPOCH,
        "save_strategy": EACH_EPOCH,
        "logging_strategy": EACH_EPOCH,
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": context.seed,
        "use_cpu": context.device.type == "cpu",
    }


class TrialCallback(TrainerCallback):
    """Reports each epoch of a trial, and resumes it.

    Args:
        context: what the training function got.

    Attributes:
        checkpoint: for `trainer.train(resume_from_checkpoint=...)`; None where the training starts.
    """

    def __init__(self, context: FunctionContext) -> None:
        self.context = context
        folder = context.load_folder()
        self.checkpoint = None if folder is None else str(folder)
        self._metrics: dict[str, float] = {}
        self._is_evaluated = False

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Check that each epoch is evaluated and saved.

        Raises:
            ConfigurationError: the arguments say otherwise.
        """
        for name in ("eval_strategy", "save_strategy"):
            if (value := getattr(args, name)) != EACH_EPOCH:
                raise ConfigurationError(
                    f"TrainingArguments: {name} must be {EACH_EPOCH!r} in a trial, since each "
                    f"epoch is reported and saved, got {str(getattr(value, 'value', value))!r}; "
                    "training_options(context, folder) sets it"
                )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the training loss."""
        if logs and "loss" in logs:
            self._metrics["train_loss"] = float(logs["loss"])

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Take the metrics of the evaluation."""
        measured = metrics or {}
        self._metrics |= {n: value for n, value in measured.items() if n not in NO_METRICS}
        self._is_evaluated = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Keep the checkpoint that was written, and report the epoch.

        Raises:
            TrialStopped: the trial ends here; the trainer passes it on.
        """
        if (
            not self._is_evaluated
        ):  # Transformers 4 also saves at the last step, before it evaluates
            return
        self._is_evaluated = False
        self.context.save_folder(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
        metrics, self._metrics = self._metrics, {}
        self.context.report(metrics)
