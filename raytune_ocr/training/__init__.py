"""The training loop, its parts, and the trainers on top of it."""

from raytune_ocr.lazy import lazy_names

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "raytune_ocr.config": ["TrainingConfig"],
        "raytune_ocr.vocabulary": [
            "BLANK_TOKEN_ID",
            "DEFAULT_CHAR_TO_IDX",
            "DEFAULT_IDX_TO_CHAR",
            "EOS_TOKEN_ID",
            "PAD_TOKEN_ID",
        ],
        "raytune_ocr.training.trainers.base": ["BaseTrainer"],
        "raytune_ocr.training.build": ["create_trainer", "train_from_config"],
        "raytune_ocr.training.callbacks": ["Callback", "EarlyStopping"],
        "raytune_ocr.training.checkpoints.checkpoint": ["CheckpointManager"],
        "raytune_ocr.training.trainers.classifier": ["ClassifierTrainer"],
        "raytune_ocr.training.device": ["get_device", "setup_training_environment"],
        "raytune_ocr.training.experiments.folder": ["ExperimentManager"],
        "raytune_ocr.training.experiments.trainer": ["ExperimentTrainer"],
        "raytune_ocr.training.losses": [
            "CTCLoss",
            "CrossEntropyLoss",
            "FocalLoss",
            "OCRLoss",
            "create_loss_function",
        ],
        "raytune_ocr.training.optim.lr_schedules": ["create_lr_scheduler", "create_scheduler"],
        "raytune_ocr.training.metrics": [
            "ClassificationMetrics",
            "MetricsTracker",
            "OCRMetrics",
            "analyze_errors",
            "calculate_character_accuracy",
            "calculate_edit_distance",
            "calculate_sequence_accuracy",
            "create_metrics_calculator",
        ],
        "raytune_ocr.training.model_config": [
            "create_model_from_config",
            "load_model",
            "load_reader",
        ],
        "raytune_ocr.training.trainers.ocr": ["OCRTrainer"],
        "raytune_ocr.training.optim.build": ["create_optimizer", "setup_optimizer_and_scheduler"],
        "raytune_ocr.training.checkpoints.rng": ["seed_everything"],
        "raytune_ocr.training.checkpoints.run_folder": ["RunFolder"],
        "raytune_ocr.training.trainer": ["Trainer"],
    },
)
