import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.models.classifier import ImageClassifier
from raytune_ocr.training.trainers.classifier import ClassifierTrainer, classification_loss


def test_the_loss_is_smoothed_as_the_config_says_and_computed_in_float32():
    logits, labels = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
    plain = classification_loss(TrainingConfig())(logits, labels)
    smooth = classification_loss(TrainingConfig(label_smoothing=0.3))(logits, labels)
    log = torch.log_softmax(logits, dim=1)[0]
    torch.testing.assert_close(plain, -log[0])
    torch.testing.assert_close(smooth, -0.7 * log[0] - 0.1 * log.sum())
    assert classification_loss(TrainingConfig())(logits.bfloat16(), labels).dtype == torch.float32


def test_training_batches_are_augmented_only_where_the_config_says_so(tmp_path):
    images = torch.randint(0, 256, (8, 1, 8, 8), dtype=torch.uint8)
    batches = [(images, torch.arange(8) % 2)]
    for wanted in (True, False):
        seen = []

        def augment(images, generator, seen=seen):
            seen.append(len(images))
            return images

        config = TrainingConfig(
            num_epochs=2,
            augmentation=wanted,
            output_dir=str(tmp_path / str(wanted)),
            early_stopping_monitor="val_accuracy",
            use_tensorboard=False,
        )
        model = ImageClassifier(2, width=2, depth=1)
        trainer = ClassifierTrainer(model, batches, batches, config, "cpu", augment=augment)
        history = trainer.train()["training_history"]
        assert seen == ([8, 8] if wanted else [])
        assert all(0 <= row["val_accuracy"] <= 1 for row in history)
