"""The usage examples of the architecture-agnostic trainer, as they stand, the imports changed."""

import pytest
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

from raytune_ocr.training import Trainer


@pytest.fixture
def classes():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(64, 10, generator=generator)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=16, shuffle=True)


def classifier(kind, **options):
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return kind(model, optimizer, nn.CrossEntropyLoss(), **options)


def test_basic_usage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1))
    x = torch.randn(1000, 10)
    y = torch.randn(1000, 1)
    dataset = TensorDataset(x, y)
    dataloader = DataLoader(dataset, batch_size=32, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_fn = nn.MSELoss()
    trainer = Trainer(model=model, optimizer=optimizer, loss_fn=loss_fn)
    history = trainer.train(train_dataloader=dataloader, num_epochs=5, save_dir="./checkpoints")
    assert len(history["train_loss"]) == 5
    names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert names == {"best_model.pt", *(f"checkpoint_epoch_{n:04d}.pt" for n in range(1, 6))}


def test_custom_metrics_for_classification(classes):
    class ClassificationTrainer(Trainer):
        def eval_step(self, batch):
            inputs, targets = self._prepare_batch(batch)
            outputs = self._forward_pass(inputs)
            loss = self._compute_loss(outputs, targets)
            _, predicted = torch.max(outputs, 1)
            correct = (predicted == targets).sum().item()
            total = targets.size(0)
            accuracy = correct / total
            return {"loss": loss.item(), "accuracy": accuracy}

        def evaluate(self, dataloader):
            self.model.eval()
            total_loss = 0.0
            total_accuracy = 0.0
            steps = 0
            with torch.no_grad():
                for batch in dataloader:
                    step_result = self.eval_step(batch)
                    total_loss += step_result["loss"]
                    total_accuracy += step_result["accuracy"]
                    steps += 1
            return {
                "loss": total_loss / steps if steps > 0 else 0,
                "accuracy": total_accuracy / steps if steps > 0 else 0,
            }

    history = classifier(ClassificationTrainer).train(
        classes, num_epochs=20, eval_dataloader=classes, best_model_metric="eval_accuracy"
    )
    assert history["eval_accuracy"][-1] > 0.9


def test_training_with_callbacks(classes, capsys):
    def log_metrics_callback(trainer, epoch, metrics):
        """Custom callback to log metrics"""
        print(f"Epoch {epoch + 1} metrics: {metrics}")

    classifier(Trainer).train(
        train_dataloader=classes,
        eval_dataloader=classes,
        num_epochs=10,
        callbacks=[log_metrics_callback],
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" metrics: ")[0] for line in lines] == [f"Epoch {n}" for n in range(1, 11)]
    assert "eval_loss" in lines[0]


def test_the_four_hooks_are_asked(classes, tmp_path):
    asked = []

    class Noted(Trainer):
        def _prepare_batch(self, batch):
            asked.append("prepare")
            return super()._prepare_batch(batch)

        def _forward_pass(self, inputs):
            asked.append("forward")
            return super()._forward_pass(inputs)

        def _compute_loss(self, outputs, targets):
            asked.append("loss")
            return super()._compute_loss(outputs, targets)

        def _save_checkpoint(self, path, epoch, metric_value=None):
            asked.append("save")
            super()._save_checkpoint(path, epoch, metric_value)

    classifier(Noted).train(classes, 1, save_dir=str(tmp_path))
    assert asked[:3] == ["prepare", "forward", "loss"]
    assert asked.count("save") == 2  # the best and the first epoch's


@pytest.mark.parametrize("as_attributes", [False, True])
def test_the_config_is_read_as_attributes_or_as_a_mapping(classes, as_attributes):
    settings = {"weight_decay": 0.3, "max_grad_norm": 0.5, "scheduler_step_per_batch": True}

    class Settings:
        weight_decay, max_grad_norm, scheduler_step_per_batch = 0.3, 0.5, True

    class Config:
        training = Settings

    model = nn.Linear(10, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    config = Config() if as_attributes else {"training": settings}
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), config, scheduler=scheduler)
    trainer.train(classes, 1)
    assert optimizer.param_groups[0]["weight_decay"] == 0.3
    assert trainer.max_grad_norm == 0.5
    assert trainer.learning_rate == 0.5 ** len(classes)


def test_a_checkpoint_is_loaded_with_or_without_the_optimizer(classes, tmp_path):
    first = classifier(Trainer)
    first.train(classes, 2, save_dir=tmp_path)
    path = str(tmp_path / "checkpoint_epoch_0002.pt")
    second = classifier(Trainer)
    data = second.load_checkpoint(path, load_optimizer=False, load_scheduler=False)
    assert data["epoch"] == 2
    assert not second.optimizer.state
    assert torch.equal(second.model[0].weight, first.model[0].weight)
    third = classifier(Trainer)
    third.load_checkpoint(path)
    assert third.optimizer.state


def test_hugging_face_models_bring_their_own_loss(tmp_path):
    import transformers

    config = transformers.GPT2Config(
        vocab_size=12, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    tokens = torch.arange(8).repeat(64, 1) + torch.randint(0, 4, (64, 1))
    batches = [
        {"input_ids": part, "attention_mask": torch.ones_like(part), "labels": part}
        for part in tokens.split(16)
    ]
    trainer = Trainer(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.01),
        loss_fn=None,  # the model computes its loss itself
    )
    history = trainer.train(
        train_dataloader=batches, eval_dataloader=batches, num_epochs=5, save_dir=str(tmp_path)
    )
    assert history["eval_loss"][-1] < 0.8 * history["eval_loss"][0]
    resumed = Trainer(model, torch.optim.AdamW(model.parameters(), lr=5e-3), None)
    resumed.load_checkpoint(str(tmp_path / "best_model.pt"))
    assert resumed.evaluate(batches)["loss"] == pytest.approx(min(history["eval_loss"]))
