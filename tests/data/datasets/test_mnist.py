import gzip

import numpy as np
import pytest
import torch

from raytune_ocr.data import DatasetRegistry
from raytune_ocr.errors import DataLoaderError, DataNotFoundError


def idx(array):
    """The bytes of an IDX file."""
    head = bytes((0, 0, 8, array.ndim))
    return head + np.array(array.shape, dtype=">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(1)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for name, count in (("train", 12), ("t10k", 5)):
        images = idx(rng.integers(0, 256, (count, 28, 28)))
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


def test_the_idx_files_of_mnist_are_read_gzipped_or_not(mnist):
    train, val = DatasetRegistry.create("mnist", path=mnist).get_dataloaders(batch_size=12)
    images, labels = next(iter(train))
    assert (images.shape, images.dtype) == ((12, 1, 28, 28), torch.uint8)
    assert sorted(labels.tolist()) == sorted([*range(10), 0, 1])
    assert len(val.dataset) == 5


def test_absent_files_of_mnist_say_where_to_put_them(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"train-images-idx3-ubyte.* put the four IDX"):
        DatasetRegistry.create("mnist", path=tmp_path).get_dataloaders()


@pytest.mark.parametrize("content", [b"", b"\0\0\10\1\0\0\0\5abc", b"\0\0\15\1\0\0\0\1a"])
def test_a_damaged_file_of_mnist_is_named(mnist, content):
    (mnist / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(DataLoaderError, match="train-labels-idx1-ubyte: must be an IDX file"):
        DatasetRegistry.create("mnist", path=mnist).get_dataloaders()
