"""Read images with a trained model, and export it."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.inference.exporting": ["export"],
        "raytune_ocr.inference.locate": ["find_checkpoint", "find_images"],
        "raytune_ocr.inference.model": ["Model", "load"],
        "raytune_ocr.inference.reading": ["Reading", "predict", "read_images"],
    },
)
