"""Tasks that trials train: the interface and the package's tasks."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.tasks.base": ["Metric", "Parts", "Task"],
        "raytune_ocr.tasks.context": ["FunctionContext"],
    },
)
