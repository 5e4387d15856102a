import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import Callback
from raytune_ocr.training.callbacks.base import FunctionCallback, monitored
from tests.fixtures.trainers import loader, trainer


class Diary(Callback):
    """Writes down what it is called for."""

    watches_steps = True

    def __init__(self):
        self.lines = []

    def on_train_begin(self, trainer):
        self.lines.append("begin")

    def on_epoch_begin(self, trainer, epoch):
        self.lines.append(f"epoch {epoch}")

    def on_step_end(self, trainer, step, figures):
        self.lines.append(f"step {step}")

    def on_epoch_end(self, trainer, epoch, metrics):
        self.lines.append(f"end {epoch}")
        metrics["added"] = 7.0

    def on_callback_error(self, trainer):
        self.lines.append("error")

    def on_train_end(self, trainer):
        self.lines.append("over")


def test_events_come_in_order_and_what_a_callback_adds_is_seen_by_the_next():
    diary, seen = Diary(), []
    after = lambda trainer, epoch, metrics: seen.append(metrics["added"])  # noqa: E731
    trainer().train(loader(32), 2, callbacks=[diary, after])
    steps = ["step 0", "step 1"]
    assert diary.lines == [
        "begin",
        *("epoch 0", *steps, "end 0"),
        *("epoch 1", *steps, "end 1"),
        "over",
    ]
    assert seen == [7.0, 7.0]


def test_when_a_callback_raises_the_others_hear_of_it_before_training_ends():
    def fails(trainer, epoch, metrics):
        raise OSError("no room")

    diary = Diary()
    with pytest.raises(RuntimeError, match=r"fails.*no room"):
        trainer().train(loader(16), 2, callbacks=[fails, diary])
    assert diary.lines[-2:] == ["error", "over"]


def test_a_callback_that_does_nothing_changes_nothing():
    losses = []
    for callbacks in ([], [Callback()]):
        one = trainer()
        one.train(loader(32), 2, callbacks=callbacks)
        losses.append(one.history["train_loss"])
    assert losses[0] == losses[1]
    assert Callback().state_dict() == {}


def test_a_function_is_a_callback_of_its_name():
    seen = []

    def note(trainer, epoch, metrics):
        seen.append(epoch)

    callback = FunctionCallback(note)
    callback(None, 4, {})
    assert (callback.name, seen) == ("note", [4])


def test_an_unknown_metric_lists_those_there_are():
    with pytest.raises(ConfigurationError, match=r"unknown metric 'val_f1' \(known: a, b\)"):
        monitored({"b": 1.0, "a": 2.0}, "val_f1")
