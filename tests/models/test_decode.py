"""Tests of greedy decoding."""

import itertools

import pytest
import torch
from torch import Tensor

from raytune_ocr.models import greedy_decode, log_likelihood
from raytune_ocr.vocabulary import (
    BLANK_TOKEN_ID,
    EOS_TOKEN_ID,
    NUM_DIGITS,
    PAD_TOKEN_ID,
    SEQUENCE_LENGTH,
    VOCAB_SIZE,
    decode,
    encode,
)


def logits_of(paths: list[list[int]], strength: float = 20.0) -> Tensor:
    """Logits that put nearly everything on the given ids."""
    return strength * torch.nn.functional.one_hot(torch.tensor(paths), VOCAB_SIZE).float()


def read_columns_slowly(logits: Tensor) -> tuple[list[int], float]:
    """Greedy CTC of one image, the way a textbook writes it."""
    allowed = [*range(NUM_DIGITS), BLANK_TOKEN_ID]
    probabilities = logits[:, allowed].softmax(dim=-1)
    ids: list[int] = []
    peaks: list[float] = []
    before = BLANK_TOKEN_ID
    for column in probabilities:
        now = allowed[int(column.argmax())]
        if now != BLANK_TOKEN_ID and now != before:
            ids.append(now)
            peaks.append(0.0)
        if now != BLANK_TOKEN_ID:
            peaks[-1] = max(peaks[-1], float(column.max()))
        before = now
    ids, peaks = ids[:SEQUENCE_LENGTH], peaks[:SEQUENCE_LENGTH]
    confidence = float(torch.tensor(peaks).prod()) if ids else 0.0
    return ids + [EOS_TOKEN_ID] * (SEQUENCE_LENGTH - len(ids)), confidence


def read_positions_slowly(logits: Tensor) -> tuple[list[int], float]:
    """Greedy reading of one image, position by position."""
    allowed = [*range(NUM_DIGITS), EOS_TOKEN_ID]
    ids: list[int] = []
    confidence = 1.0
    for position in logits[:, allowed].softmax(dim=-1):
        confidence *= float(position.max())
        now = allowed[int(position.argmax())]
        if now == EOS_TOKEN_ID:
            break
        ids.append(now)
    confidence = confidence if ids else 0.0
    return ids + [EOS_TOKEN_ID] * (SEQUENCE_LENGTH - len(ids)), confidence


@pytest.mark.parametrize("scale", [0.5, 2.0, 6.0])
def test_ctc_decoding_agrees_with_the_textbook_on_random_logits(scale: float) -> None:
    torch.manual_seed(1)
    logits = scale * torch.randn(200, 32, VOCAB_SIZE)
    logits[:150, :, BLANK_TOKEN_ID] += 2 * scale  # mostly blank, as real ones are
    ids, confidences = greedy_decode(logits, "ctc")
    slow = [read_columns_slowly(image) for image in logits]
    assert ids.tolist() == [reading for reading, _ in slow]
    assert torch.allclose(confidences, torch.tensor([c for _, c in slow]), atol=1e-5)


def test_attention_decoding_agrees_with_the_textbook_on_random_logits() -> None:
    torch.manual_seed(1)
    logits = 2 * torch.randn(200, SEQUENCE_LENGTH, VOCAB_SIZE)
    ids, confidences = greedy_decode(logits, "attention")
    slow = [read_positions_slowly(image) for image in logits]
    assert ids.tolist() == [reading for reading, _ in slow]
    assert torch.allclose(confidences, torch.tensor([c for _, c in slow]), atol=1e-5)


@pytest.mark.parametrize("digit", range(NUM_DIGITS))
def test_eight_equal_digits_can_be_read_from_32_columns(digit: int) -> None:
    path = ([digit, digit, BLANK_TOKEN_ID, BLANK_TOKEN_ID] * 8)[:32]
    ids, confidences = greedy_decode(logits_of([path]), "ctc")
    assert ids.tolist() == [[digit] * 8 + [EOS_TOKEN_ID]]
    assert confidences.item() > 0.99


def test_eight_equal_digits_need_no_more_than_17_columns() -> None:
    path = [7, BLANK_TOKEN_ID] * 8 + [BLANK_TOKEN_ID]
    ids, _ = greedy_decode(logits_of([path]), "ctc")
    assert decode(ids[0].tolist()) == "៧" * 8


def test_different_digits_need_no_blank_between_them() -> None:
    ids, _ = greedy_decode(logits_of([[1, 1, 2, 3, 3, BLANK_TOKEN_ID, 3]]), "ctc")
    assert ids[0].tolist() == encode("1233")


def test_ids_after_the_first_end_are_ends() -> None:
    path = [4, 5, EOS_TOKEN_ID, 6, 7, 8, EOS_TOKEN_ID, 9, 1]
    ids, confidences = greedy_decode(logits_of([path]), "attention")
    assert ids[0].tolist() == encode("45")
    assert confidences.item() > 0.99


def test_special_tokens_are_never_read() -> None:
    padded = logits_of([[PAD_TOKEN_ID, BLANK_TOKEN_ID, EOS_TOKEN_ID] * 3])
    for kind in ("attention", "ctc"):
        ids, _ = greedy_decode(padded, kind)
        assert set(ids.flatten().tolist()) <= {*range(NUM_DIGITS), EOS_TOKEN_ID}


@pytest.mark.parametrize(
    ("kind", "path"),
    [("attention", [EOS_TOKEN_ID] * SEQUENCE_LENGTH), ("ctc", [BLANK_TOKEN_ID] * 32)],
)
def test_a_reading_without_a_digit_has_no_confidence(kind: str, path: list[int]) -> None:
    ids, confidences = greedy_decode(logits_of([path]), kind)
    assert ids[0].tolist() == [EOS_TOKEN_ID] * SEQUENCE_LENGTH
    assert confidences.tolist() == [0.0]


def test_more_digits_than_fit_are_cut_and_not_mistaken_for_eight() -> None:
    ids, _ = greedy_decode(logits_of([[1, 2] * 16]), "ctc")
    assert ids.tolist() == [[1, 2, 1, 2, 1, 2, 1, 2, 1]]


def test_confidence_falls_where_the_reader_doubts() -> None:
    sure, doubtful = logits_of([[3, BLANK_TOKEN_ID]]), logits_of([[3, BLANK_TOKEN_ID]], 1.0)
    _, confidences = greedy_decode(torch.cat([sure, doubtful]), "ctc")
    assert confidences[0] > 0.99
    assert confidences[1] < 0.5


def test_a_ctc_reading_is_as_likely_as_all_ways_of_spelling_it() -> None:
    torch.manual_seed(2)
    logits = 2 * torch.randn(1, 4, VOCAB_SIZE)
    allowed = [*range(NUM_DIGITS), BLANK_TOKEN_ID]
    probabilities = logits[0][:, allowed].softmax(dim=-1)
    spelled: dict[str, float] = {}
    for path in itertools.product(range(len(allowed)), repeat=4):
        ways = [allowed[way] for way in path]
        kept = [now for now, _ in itertools.groupby(ways) if now != BLANK_TOKEN_ID]
        text = "".join(map(str, kept))
        chance = float(torch.stack([probabilities[t, way] for t, way in enumerate(path)]).prod())
        spelled[text] = spelled.get(text, 0.0) + chance
    for text in ("3", "33", "12", "907", "1234"):
        found = log_likelihood(logits, "ctc", torch.tensor([encode(text)]))
        assert found.exp().item() == pytest.approx(spelled[text], rel=1e-4)
    assert log_likelihood(logits, "ctc", torch.tensor([encode("333")])).item() == -torch.inf


def test_an_attention_reading_is_as_likely_as_its_digits_and_its_end_together() -> None:
    torch.manual_seed(2)
    logits = 2 * torch.randn(50, SEQUENCE_LENGTH, VOCAB_SIZE)
    ids, confidences = greedy_decode(logits, "attention")
    found = (ids[:, 0] != EOS_TOKEN_ID).nonzero()[:, 0]
    likely = log_likelihood(logits, "attention", ids)[found]
    assert torch.allclose(likely.exp(), confidences[found], rtol=1e-4)
    longest = torch.arange(SEQUENCE_LENGTH).unsqueeze(0)  # nine digits, no end
    whole = logits[:1].clone()
    whole[..., [PAD_TOKEN_ID, BLANK_TOKEN_ID]] = -torch.inf
    each = whole.log_softmax(dim=-1)[0, range(SEQUENCE_LENGTH), range(SEQUENCE_LENGTH)]
    assert torch.allclose(log_likelihood(logits[:1], "attention", longest), each.sum())


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="must be attention or ctc, got 'lstm'"):
        greedy_decode(torch.zeros(1, 9, VOCAB_SIZE), "lstm")
    with pytest.raises(ValueError, match="must be attention or ctc, got 'lstm'"):
        log_likelihood(torch.zeros(1, 9, VOCAB_SIZE), "lstm", torch.zeros(1, 9).long())
