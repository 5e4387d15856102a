"""Regression with Lightning: the progress of diabetes a year later, by the mean absolute error."""

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from raytune_ocr.tasks.lightning import TrialCallback, trainer_options

VALIDATION = 100


class Regressor(LightningModule):
    """Two layers, trained by Adam on the absolute error."""

    def __init__(self, features, width, learning_rate):
        super().__init__()
        self.learning_rate = learning_rate
        self.layers = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, inputs):
        return self.layers(inputs).squeeze(1)

    def training_step(self, batch, _):
        loss = nn.functional.l1_loss(self(batch[0]), batch[1])
        self.log("train_mae", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, _):
        self.log("val_mae", nn.functional.l1_loss(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.learning_rate)


def prepare():
    """442 patients: ten standardized figures each, and the progress, which goes from 25 to 346."""
    figures, progress = load_diabetes(return_X_y=True, scaled=True)
    return torch.tensor(figures * 20).float(), torch.tensor(progress).float()


def train(parameters, context):
    figures, progress = context.data
    training = TensorDataset(figures[VALIDATION:], progress[VALIDATION:])
    validation = TensorDataset(figures[:VALIDATION], progress[:VALIDATION])
    model = Regressor(figures.shape[1], parameters["width"], parameters["learning_rate"])
    trial = TrialCallback(context)
    trainer = Trainer(**trainer_options(context), callbacks=[trial])
    trainer.fit(
        model,
        DataLoader(training, parameters["batch_size"], shuffle=True),
        DataLoader(validation, VALIDATION),
        ckpt_path=trial.checkpoint,
    )
