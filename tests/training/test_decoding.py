"""Predictions of any vocabulary become ids that can be counted."""

import pytest
import torch
from torch.nn import functional

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training.decoding import KHMER, decoded_ids
from raytune_ocr.vocabulary import Vocabulary

LETTERS = {index: chr(ord("a") + index) for index in range(1, 21)}  # 0 is the blank, as usual
OTHER = Vocabulary.of({**LETTERS, 0: "<BLANK>", 21: "<EOS>", 22: "<PAD>"})


def logits_of(ids, classes=23):
    return functional.one_hot(torch.tensor(ids), classes).float() * 10


def test_the_package_own_ids_are_those_of_digits():
    assert KHMER.is_of_digits and not OTHER.is_of_digits


def test_another_vocabulary_is_read_position_by_position():
    assert decoded_ids(logits_of([[20, 1, 21, 5]]), "attention", OTHER).tolist() == [
        [20, 1, 21, 21]
    ]


def test_another_vocabulary_is_read_column_by_column():
    read = decoded_ids(logits_of([[0, 20, 20, 0, 20, 1, 0, 0]]), "ctc", OTHER)
    assert OTHER.decode(read[0].tolist()) == "uub"
    assert read[0, 3:].unique().tolist() == [21]


def test_ctc_without_a_blank_is_an_error():
    without = Vocabulary.of({index: chr(ord("a") + index) for index in range(20)}, 21, 20)
    assert without.blank is None
    with pytest.raises(ConfigurationError, match="must have <BLANK>"):
        decoded_ids(logits_of([[1]]), "ctc", without)
