"""Tuning: a YAML file of presets, Ray trials, results."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.config": ["TrainingConfig"],
        "raytune_ocr.data": ["create_data_loaders"],
        "raytune_ocr.errors": [
            "ConfigurationError",
            "DataLoaderError",
            "ExperimentFailedError",
            "ModelCreationError",
        ],
        "raytune_ocr.results.analysis": ["best", "compare", "learning_curves"],
        "raytune_ocr.results.tables": ["load_results"],
        "raytune_ocr.training": [
            "create_loss_function",
            "create_model_from_config",
            "create_optimizer",
            "create_scheduler",
            "setup_training_environment",
        ],
        "raytune_ocr.tune.options": ["TuneOptions"],
        "raytune_ocr.tune.space.search_space": ["load_space"],
        "raytune_ocr.tune.space.sections": ["create_training_config"],
        "raytune_ocr.tune.tracking.ray_export": ["export_ray"],
        "raytune_ocr.tune.tuner": ["HyperparameterTuner"],
    },
)
