"""The loop of trainers that own their loaders, with losses and passes of their own."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from raytune_ocr.models import create_model
from raytune_ocr.models.readers import ReaderOutput
from raytune_ocr.training import CrossEntropyLoss, CTCLoss, FocalLoss, OCRLoss
from raytune_ocr.training.loops import Loop, ReaderLoop
from raytune_ocr.vocabulary import PAD_TOKEN_ID, encode

TARGETS = torch.tensor([encode("123"), encode("0")])
IMAGES = torch.randint(0, 255, (2, 1, 64, 128), dtype=torch.uint8)


def reader_loop(loss_fn, name="small"):
    torch.manual_seed(1)
    model = create_model(name)
    return ReaderLoop(model, torch.optim.SGD(model.parameters(), 0.01), loss_fn, device="cpu")


def of_digits(predictions, targets):
    return functional.cross_entropy(predictions.flatten(0, 1), targets.flatten())


def of_digits_in_a_mapping(predictions, targets):
    return {"loss": of_digits(predictions, targets), "note": 1}


@pytest.mark.parametrize(
    "loss_fn",
    [
        *(CrossEntropyLoss(), FocalLoss(), OCRLoss(), of_digits, of_digits_in_a_mapping),
        nn.CrossEntropyLoss(ignore_index=PAD_TOKEN_ID),
    ],
    ids=lambda loss: getattr(loss, "__name__", type(loss).__name__),
)
def test_any_loss_of_predictions_and_targets_trains_an_attention_reader(loss_fn):
    loop = reader_loop(loss_fn)
    before = [p.clone() for p in loop.model.parameters()]
    figures = loop.train_pass([(IMAGES, TARGETS)])
    assert figures["loss"] > 0
    pairs = zip(before, loop.model.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)


def test_any_loss_of_predictions_and_targets_trains_a_ctc_reader():
    for loss_fn in (CTCLoss(), OCRLoss("ctc")):
        assert reader_loop(loss_fn, "ctc_small").train_pass([(IMAGES, TARGETS)])["loss"] > 0


@pytest.mark.parametrize("loss_fn", [CrossEntropyLoss(), nn.CrossEntropyLoss()])
def test_a_loss_that_leaves_the_encoders_head_untrained_says_so_once(caplog, loss_fn):
    loop = reader_loop(loss_fn)
    loop.train_pass([(IMAGES, TARGETS)] * 2)
    assert caplog.text.count("CrossEntropyLoss takes no ctc_logits") == 1


def test_a_loss_may_take_the_logits_of_the_encoders_head():
    seen = []

    def with_encoder(predictions, targets, ctc_logits):
        seen.append(ctc_logits.shape)
        return CTCLoss()(ctc_logits, targets)

    reader_loop(with_encoder).train_pass([(IMAGES, TARGETS)])
    assert seen == [(2, 32, 13)]


def test_an_owner_may_train_and_validate_in_its_own_way():
    model = nn.Linear(1, 1)
    loop = Loop(model, torch.optim.SGD(model.parameters(), 0.1), None, device="cpu")
    loop.trains = lambda epoch: {"loss": 3.0 - epoch, "train_extra": 1.0}
    loop.validates = lambda: {"loss": 0.5}
    history = loop.train([], 2, [], best_model_metric="val_loss")
    assert history["train_loss"] == [3.0, 2.0]
    assert history["train_extra"] == [1.0, 1.0]
    assert history["val_loss"] == [0.5, 0.5]


def test_a_reader_output_is_what_the_loop_expects():
    assert ReaderOutput._fields == ("logits", "ctc_logits")
