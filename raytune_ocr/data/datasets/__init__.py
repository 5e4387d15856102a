"""The registered datasets; importing this package registers them."""

from raytune_ocr.data.datasets.image_folder import ImageFolder
from raytune_ocr.data.datasets.khmer_digits import KhmerDigits
from raytune_ocr.data.datasets.mnist import MNIST
from raytune_ocr.data.registry import BaseDataset, DatasetRegistry, create_dataset

__all__ = [
    "MNIST",
    "BaseDataset",
    "DatasetRegistry",
    "ImageFolder",
    "KhmerDigits",
    "create_dataset",
]
