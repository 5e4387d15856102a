import numpy as np
import pytest

from raytune_ocr.data import (
    PackedSplit,
)
from raytune_ocr.errors import DataLoaderError


def test_an_empty_or_misshapen_split_is_refused():
    with pytest.raises(DataLoaderError, match="at least one image"):
        PackedSplit(np.zeros((0, 64, 128), np.uint8), np.zeros((0, 9), np.int64), "val")
    with pytest.raises(DataLoaderError, match="uint8 of shape"):
        PackedSplit(np.zeros((2, 10, 10), np.uint8), np.zeros((2, 9), np.int64), "val")
