"""What trials train: the protocol, and the tasks that come with the package."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.tasks.base": ["Metric", "Parts", "Task"],
        "raytune_ocr.tasks.context": ["FunctionContext"],
    },
)
