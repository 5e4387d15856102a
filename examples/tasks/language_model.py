"""A small language model of characters, by its perplexity on text that it has not seen.

The text is Python's own documentation, which comes with Python.
"""

import math
from pydoc_data.topics import topics

import torch
from torch import nn

LENGTH, SYMBOLS = 64, 128


class Model(nn.Module):
    """A recurrent network; logits [B, T, SYMBOLS] of the next character of ids [B, T]."""

    def __init__(self, width):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, width)
        self.memory = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, ids):
        return self.head(self.memory(self.embedding(ids))[0])


def prepare(characters=60_000):
    """Pieces of the text, int64 [N, LENGTH + 1]; the last tenth validates."""
    text = "\n".join(topics[name] for name in sorted(topics))[:characters]
    ids = torch.tensor([min(ord(character), SYMBOLS - 1) for character in text])
    pieces = ids[: len(ids) // (LENGTH + 1) * (LENGTH + 1)].view(-1, LENGTH + 1)
    at = len(pieces) * 9 // 10
    return {"train": pieces[:at], "val": pieces[at:]}


def loss_of(model, pieces):
    logits = model(pieces[:, :-1])
    return nn.functional.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())


def train(parameters, context):
    training, validation = (context.data[name].to(context.device) for name in ("train", "val"))
    model = Model(parameters["width"]).to(context.device)
    optimizer = torch.optim.AdamW(model.parameters(), parameters["learning_rate"])
    if state := context.load():
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    for _ in range(context.epoch, context.epochs):
        for batch in torch.randperm(len(training)).split(32):
            loss = loss_of(model, training[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        with torch.inference_mode():
            perplexity = math.exp(loss_of(model, validation))
        context.save(model=model.state_dict(), optimizer=optimizer.state_dict())
        context.report(val_perplexity=perplexity, train_loss=loss)
