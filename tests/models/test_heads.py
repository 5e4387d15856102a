"""Tests of the CTC head and of the positions that find their digits through it."""

import torch
from torch import Tensor

from raytune_ocr.models.heads import CTCHead, PositionHead, digits_begun
from raytune_ocr.vocabulary import BLANK_TOKEN_ID, EOS_TOKEN_ID, VOCAB_SIZE, encode

BLANK = BLANK_TOKEN_ID


def posterior_of(path: list[int]) -> Tensor:
    """A CTC posterior [1, T, C] that is nearly sure of `path`."""
    return (12.0 * torch.nn.functional.one_hot(torch.tensor([path]), VOCAB_SIZE)).softmax(-1)


def untrained_head() -> PositionHead:
    torch.manual_seed(0)
    return PositionHead(width=16, vocab_size=VOCAB_SIZE, positions=9, hidden=16)


def test_a_digit_over_several_columns_begins_once() -> None:
    begun = digits_begun(posterior_of([BLANK, 4, 4, 4, BLANK, 4, 7, 7]))
    expected = torch.tensor([[0, 1, 0, 0, 0, 1, 1, 0]])
    assert torch.allclose(begun, expected.float(), atol=1e-3)


def test_every_position_attends_to_its_digit_and_the_rest_to_the_end() -> None:
    path = [BLANK, 4, 4, BLANK, 4, 7, BLANK, BLANK]
    columns = torch.randn(1, len(path), 16)
    attention = untrained_head().attend(columns, posterior_of(path))
    assert torch.allclose(attention.sum(dim=2), torch.ones(1, 9))
    assert attention.argmax(dim=2).tolist() == [[1, 4, 5] + [len(path)] * 6]


def test_an_untrained_head_already_repeats_what_ctc_reads() -> None:
    path = [BLANK, 4, 4, BLANK, 4, 7, BLANK, BLANK]
    logits = untrained_head()(torch.randn(1, len(path), 16), posterior_of(path).log())
    assert logits.argmax(dim=2).tolist() == [encode("447")]


def test_an_image_without_digits_is_all_end() -> None:
    logits = untrained_head()(torch.randn(1, 32, 16), posterior_of([BLANK] * 32).log())
    assert logits.argmax(dim=2).tolist() == [[EOS_TOKEN_ID] * 9]


def test_no_gradient_flows_back_through_the_ctc_logits() -> None:
    columns = torch.randn(1, 32, 16, requires_grad=True)
    ctc_logits = torch.randn(1, 32, VOCAB_SIZE, requires_grad=True)
    untrained_head()(columns, ctc_logits).sum().backward()
    assert columns.grad is not None and columns.grad.any()
    assert ctc_logits.grad is None


def test_an_untrained_ctc_head_expects_about_as_many_digits_as_there_are() -> None:
    torch.manual_seed(0)
    logits = CTCHead(96, VOCAB_SIZE)(torch.randn(64, 32, 96))
    expected = digits_begun(logits.softmax(dim=-1)).sum(dim=1).mean()
    assert 3 < expected < 7
