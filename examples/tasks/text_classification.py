"""A Hugging Face classifier, from a config: is a line code or prose, by the macro-F1.

The lines are Python's own: its documentation, and the source of its standard library.
"""

import inspect
import json
import tempfile
import textwrap
from pydoc_data.topics import topics

import torch
from torch.utils.data import Dataset
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from raytune_ocr.tasks.huggingface import TrialCallback, training_options

CLASSES = ("prose", "code")
LENGTH = 48  # characters of a line; each is a token
PADDING, UNKNOWN, SYMBOLS = 0, 1, 128
MODULES = (json.decoder, textwrap, inspect, tempfile)


class Lines(Dataset):
    """Lines with their classes, as Hugging Face's trainer takes them."""

    def __init__(self, lines):
        self.lines = lines

    def __len__(self):
        return len(self.lines)

    def __getitem__(self, number):
        text, label = self.lines[number]
        ids = [ord(c) if 1 < ord(c) < SYMBOLS else UNKNOWN for c in text[:LENGTH]]
        padding = LENGTH - len(ids)
        mask = [1] * len(ids) + [0] * padding
        return {"input_ids": ids + [PADDING] * padding, "attention_mask": mask, "labels": label}


def prepare(lines_per_class=600):
    """Lines of both classes in turn; every fifth pair validates."""
    prose = [line.strip() for name in sorted(topics) for line in topics[name].splitlines()]
    code = [line.strip() for m in MODULES for line in inspect.getsource(m).splitlines()]
    of_class = [[line for line in lines if len(line) > 20] for lines in (prose, code)]
    pairs = list(zip(*(lines[:lines_per_class] for lines in of_class), strict=True))
    split = ([], [])
    for number, pair in enumerate(pairs):
        split[number % 5 == 0].extend((text, label) for label, text in enumerate(pair))
    return {"train": split[0], "val": split[1]}


def macro_f1(prediction):
    """The mean of the F1 of both classes."""
    guesses = prediction.predictions.argmax(axis=1)
    scores = []
    for label in range(len(CLASSES)):
        right = ((guesses == label) & (prediction.label_ids == label)).sum()
        total = (guesses == label).sum() + (prediction.label_ids == label).sum()
        scores.append(2 * right / max(total, 1))
    return {"macro_f1": float(sum(scores) / len(scores))}


def train(parameters, context):
    config = DistilBertConfig(
        vocab_size=SYMBOLS,
        max_position_embeddings=LENGTH,
        dim=parameters["width"],
        hidden_dim=2 * parameters["width"],
        n_layers=parameters["layers"],
        n_heads=2,
        num_labels=len(CLASSES),
    )
    trial = TrialCallback(context)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            **training_options(context, folder),
            learning_rate=parameters["learning_rate"],
            per_device_train_batch_size=32,
        )
        trainer = Trainer(
            DistilBertForSequenceClassification(config),
            arguments,
            train_dataset=Lines(context.data["train"]),
            eval_dataset=Lines(context.data["val"]),
            compute_metrics=macro_f1,
            callbacks=[trial],
        )
        trainer.train(resume_from_checkpoint=trial.checkpoint)


def load_model(parameters, state, folder):
    """The trained model, for `export` and `predict`."""
    return DistilBertForSequenceClassification.from_pretrained(folder).eval()


def predict(model, files):
    """Name the class of each file's text, with its probability."""
    for file in files:
        batch = Lines([(file.read_text(encoding="utf-8").strip(), 0)])[0]
        inputs = {name: torch.tensor([batch[name]]) for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            shares = model(**inputs).logits.softmax(dim=1)[0]
        yield CLASSES[int(shares.argmax())], float(shares.max())
