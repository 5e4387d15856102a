import numpy as np
import pytest
import torch
from torch import nn

from raytune_ocr.data import PackedSplit
from raytune_ocr.training.evaluate import Counts, counts, measure, with_intervals
from raytune_ocr.vocabulary import VOCAB_SIZE, encode


class ReadsOnes(nn.Module):
    """Reads every image as the string 1."""

    kind = "attention"

    def forward(self, images):
        ids = torch.tensor(encode("1")).expand(len(images), -1)
        return nn.functional.one_hot(ids, VOCAB_SIZE).float()


@pytest.fixture
def split():
    texts = ["1", "12", "31", "1"]
    images = np.zeros((len(texts), 64, 128), np.uint8)
    return PackedSplit(images, np.array([encode(text) for text in texts]))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_string_and_digit_of_a_split_is_counted(split, batch_size):
    counted = counts(measure(ReadsOnes(), split, batch_size))
    assert counted == Counts(right_strings=2, strings=4, right_digits=3, digits=6)


def test_a_share_stands_beside_its_interval(split):
    figures = with_intervals("test", counts(measure(ReadsOnes(), split)))
    assert (figures["test_seq_accuracy"], figures["test_char_accuracy"]) == (0.5, 0.5)
    low, high = figures["test_seq_accuracy_interval"]
    assert 0.1 < low < 0.5 < high < 0.9
    assert (figures["test_images"], figures["test_digits"]) == (4, 6)
