"""Data: datasets, synthetic images, file readers, batches, augmentation."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.data.augment": ["BatchAugment"],
        "raytune_ocr.data.datasets": [
            "BaseDataset",
            "DatasetRegistry",
            "ImageFolder",
            "KhmerDigits",
            "create_dataset",
        ],
        "raytune_ocr.data.images": ["to_canvas"],
        "raytune_ocr.data.loaders": ["EpochSampler", "KhmerDigitsDataset", "create_data_loaders"],
        "raytune_ocr.data.packed": ["PackedSplit"],
        "raytune_ocr.data.split_files": ["load_split", "load_splits"],
        "raytune_ocr.data.synthesis.composer": ["SyntheticComposer"],
        "raytune_ocr.data.synthesis.generator": ["ensure_default_data", "generate_dataset"],
        "raytune_ocr.data.synthesis.glyphs": [
            "DEVELOPMENT_FAMILIES",
            "RESERVED_FAMILIES",
            "GlyphSheet",
        ],
    },
)
