"""Callbacks of the loop: early stopping, checkpoints, logs, plots, progress."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.training.callbacks.base": ["Callback"],
        "raytune_ocr.training.callbacks.checkpoints": [
            "BestWeights",
            "Checkpoints",
        ],
        "raytune_ocr.training.callbacks.early_stopping": [
            "EarlyStopping",
            "EarlyStoppingCallback",
        ],
        "raytune_ocr.training.callbacks.epoch_log": ["CurvesPicture", "EpochLog"],
        "raytune_ocr.training.callbacks.progress_bar": ["InterruptAfterBatch", "ProgressBar"],
        "raytune_ocr.training.callbacks.tensorboard": ["TensorBoardLogger"],
    },
)
