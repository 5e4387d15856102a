import numpy as np
import pytest
import torch
from torch.nn import functional

from raytune_ocr.errors import ConfigurationError, DataLoaderError
from raytune_ocr.training import (
    DEFAULT_IDX_TO_CHAR,
    OCRMetrics,
    analyze_errors,
    calculate_character_accuracy,
    calculate_edit_distance,
    calculate_sequence_accuracy,
    create_metrics_calculator,
)
from raytune_ocr.training.decoding import decoded_ids
from raytune_ocr.training.metrics import DECODED_AT_ONCE
from raytune_ocr.vocabulary import BLANK_TOKEN_ID, PAD_TOKEN_ID, encode


def ids(*texts):
    return torch.tensor([encode(text) for text in texts])


def logits_of(predicted):
    return functional.one_hot(predicted, 13).float() * 10


def test_end_tokens_are_no_characters():
    """A reader that sees nothing gets no credit for ending strings."""
    nothing = torch.full((2, 9), 10)
    assert calculate_character_accuracy(logits_of(nothing), ids("12", "3")) == 0.0


def test_characters_count_by_position_and_strings_as_a_whole():
    predicted, targets = ids("123", "45"), ids("124", "45")
    assert calculate_character_accuracy(logits_of(predicted), targets) == pytest.approx(4 / 5)
    assert calculate_sequence_accuracy(logits_of(predicted), targets) == 0.5


def test_a_digit_too_many_spoils_the_string_but_no_character():
    predicted, targets = ids("123"), ids("12")
    assert calculate_character_accuracy(predicted, targets) == 1.0
    assert calculate_sequence_accuracy(predicted, targets) == 0.0


def test_padding_ends_a_target_as_eos_does():
    padded = ids("12")
    padded[:, 3:] = PAD_TOKEN_ID
    assert calculate_sequence_accuracy(ids("12"), padded) == 1.0


def test_ctc_logits_are_measured_as_they_are_decoded():
    columns = torch.full((1, 32), BLANK_TOKEN_ID)
    columns[0, [3, 4, 8, 12]] = torch.tensor([1, 1, 1, 2])
    assert calculate_sequence_accuracy(logits_of(columns), ids("112"), kind="ctc") == 1.0


def test_edit_distance_is_normalised_and_two_empty_strings_agree():
    assert calculate_edit_distance(["", "១២៣៤"], ["", "១២៣"]) == pytest.approx(0.125)
    with pytest.raises(ValueError, match="equally long"):
        calculate_edit_distance(["1"], [])


def test_batches_add_up():
    apart, together = OCRMetrics(), OCRMetrics()
    predicted, targets = ids("123", "45", "6"), ids("124", "45", "7")
    together.update(predicted, targets)
    apart.update(predicted[:1], targets[:1])
    apart.update(predicted[1:], targets[1:])
    assert apart.compute() == together.compute()
    assert together.compute()["cer"] == pytest.approx(2 / 6)


def test_reset_forgets_and_an_empty_set_has_no_accuracy():
    metrics = create_metrics_calculator(DEFAULT_IDX_TO_CHAR)
    metrics.update(ids("1"), ids("1"))
    metrics.reset()
    with pytest.raises(DataLoaderError, match="no string to evaluate"):
        metrics.compute()


def test_the_confusion_matrix_counts_digits_only():
    metrics = OCRMetrics()
    metrics.update(ids("12", "3"), ids("13", "345"))
    matrix = metrics.get_confusion_matrix()
    expected = np.zeros((10, 10), int)
    expected[1, 1] = expected[3, 2] = expected[3, 3] = 1
    assert (matrix == expected).all()
    assert metrics.get_per_class_accuracy() == {"១": 1.0, "៣": 0.5, "៤": 0.0, "៥": 0.0}


def test_errors_are_reported_apart():
    found = analyze_errors(["១២", "៣", "៤៤", "៥"], ["១៣", "៣", "៤", "៥៦"])
    kinds = (found["substitutions"], found["insertions"], found["deletions"])
    assert (found["errors"], found["total"], kinds) == (3, 4, (1, 1, 1))
    assert found["confusions"] == {"៣->២": 1}
    assert found["by_length"] == {1: 0.5, 2: 1.0}


def test_batches_decoded_together_give_what_they_give_one_by_one():
    generator = torch.Generator().manual_seed(1)
    batches = []
    for number in range(2 * DECODED_AT_ONCE + 5):
        size, columns = (3, 20) if number % 40 < 38 else (2, 32)
        targets = torch.randint(0, 10, (size, 9), generator=generator)
        batches.append((torch.randn(size, columns, 13, generator=generator), targets))
    together = OCRMetrics(kind="ctc")
    reused = torch.empty(3, 9, dtype=torch.long)
    for logits, targets in batches:
        buffer = reused[: len(targets)].copy_(targets)
        together.update(logits, buffer)
        buffer.zero_()
    singly = OCRMetrics(kind="ctc")
    for logits, targets in batches:
        singly.update(decoded_ids(logits, "ctc"), targets)
    assert together.compute() == singly.compute()
    assert together.totals()[0] == sum(len(targets) for _, targets in batches)


TWENTY = {index: chr(ord("a") + index) for index in range(20)}


def test_metrics_use_a_vocabulary_of_twenty_letters_with_ids_of_its_own():
    metrics = OCRMetrics(TWENTY, pad_token_id=21, eos_token_id=20)
    targets = torch.tensor([[19, 12, 20, 21], [10, 11, 5, 20]])
    read = torch.tensor([[19, 12, 20, 20], [10, 3, 5, 20]])
    metrics.update(functional.one_hot(read, 22).float(), targets)
    assert metrics.compute() == {
        "char_accuracy": pytest.approx(4 / 5),
        "seq_accuracy": 0.5,
        "cer": pytest.approx(1 / 5),
        "edit_distance": pytest.approx(1 / 6),
    }
    assert metrics.get_per_class_accuracy() == {"f": 1, "k": 1, "l": 0, "m": 1, "t": 1}
    matrix = metrics.get_confusion_matrix()
    assert matrix.shape == (20, 20) and matrix[11, 3] == 1 and matrix[19, 19] == 1


def test_special_tokens_that_the_mapping_names_are_used():
    moved = {0: "<EOS>", 1: "<PAD>", 2: "<BLANK>", 3: "x", 4: "y"}
    metrics = create_metrics_calculator(moved)
    assert (metrics.eos_token_id, metrics.pad_token_id) == (0, 1)
    metrics.update(torch.tensor([[3, 4, 0, 4]]), torch.tensor([[3, 4, 1, 1]]))
    assert metrics.compute()["seq_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("mapping", "ids", "message"),
    [
        (TWENTY, {}, "<EOS>: must have a different id, got 10, which is that of 'k'"),
        (TWENTY, {"eos_token_id": 20}, "<PAD>: must have a different id, got 11"),
        (DEFAULT_IDX_TO_CHAR, {"eos_token_id": 20}, "<EOS>: must have one id, got 10 and 20"),
        ({0: "a", 1: "a"}, {}, "must give each character one id"),
    ],
)
def test_ids_with_two_meanings_are_refused(mapping, ids, message):
    with pytest.raises(ConfigurationError, match=message):
        OCRMetrics(mapping, **ids)


@pytest.mark.parametrize(
    ("mapping", "ids"), [({"0": "a"}, {}), ({"a": 0}, {}), ({0: "a"}, {"pad_token_id": -100})]
)
def test_ids_that_are_no_places_of_logits_are_refused(mapping, ids):
    with pytest.raises(ConfigurationError, match=r"ids must be integers >= 0, got ('0'|'a'|-100)"):
        OCRMetrics(mapping, **ids)


def test_ids_may_be_integers_of_numpy():
    assert OCRMetrics({np.int64(0): "a"}, np.int64(2), np.int64(1)).pad_token_id == 2


def test_targets_with_ids_that_the_vocabulary_does_not_know_are_an_error():
    metrics = OCRMetrics({0: "a", 1: "b"})
    metrics.update(ids("1"), ids("5"))
    with pytest.raises(DataLoaderError, match="must be ids of idx_to_char"):
        metrics.compute()


def test_the_functions_use_the_special_ids_that_they_are_given():
    targets = torch.tensor([[3, 4, 1, 0], [12, 11, 1, 0]])
    read = torch.tensor([[3, 4, 1, 9], [12, 10, 1, 9]])
    special = {"pad_token_id": 0, "eos_token_id": 1}
    assert calculate_sequence_accuracy(read, targets, **special) == 0.5
    assert calculate_sequence_accuracy(logits_of(read), targets, **special) == 0.5
    padded = torch.tensor([[3, 4, 13, 13]])
    assert calculate_character_accuracy(torch.tensor([[3, 5, 10, 10]]), padded, 13) == 0.5


def test_the_confusion_matrix_after_a_reset_is_zeros():
    metrics = OCRMetrics()
    metrics.update(ids("1"), ids("1"))
    metrics.reset()
    assert (metrics.get_confusion_matrix() == np.zeros((10, 10), int)).all()
