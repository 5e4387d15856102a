import pytest
import torch

from raytune_ocr.errors import ConfigurationError, NodeDrainedError, TrialStopped
from raytune_ocr.tasks import FunctionContext
from raytune_ocr.training.callbacks.base import Callback
from tests.fixtures.own_training import finetune, forgetful, prepare


def test_a_function_runs_in_a_test_without_ray():
    torch.manual_seed(0)
    context = FunctionContext(epochs=20, data=prepare())
    finetune({"lr": 0.02}, context)
    assert context.epoch == 20 and context.is_over
    assert list(context.history) == ["val_mae", "val_loss"]
    assert context.history["val_mae"][-1] < context.history["val_mae"][0]


def test_a_metric_that_is_missing_at_an_epoch_is_nan_there():
    context = FunctionContext(epochs=2)
    context.report(val_loss=1.0)
    context.report({"val_loss": 0.5, "val/f1": 0.9})
    assert str(context.history["val/f1"][0]) == "nan" and context.history["val/f1"][1] == 0.9


def test_an_epoch_too_many_stops_the_function():
    context = FunctionContext(epochs=2)
    with pytest.raises(TrialStopped):
        for _ in range(5):
            context.report(val_loss=1.0)
    assert context.epoch == 2


def test_the_first_start_has_nothing_to_load():
    assert FunctionContext().load() is None and FunctionContext().load_folder() is None


def continued(context, epochs):
    """Another context that goes on from what one has saved."""
    other = FunctionContext(epochs, context.data)
    other.load_state_dict(context.state_dict())
    return other


def test_a_resumed_function_is_bit_equal_to_one_that_was_never_stopped():
    data = prepare()
    torch.manual_seed(3)
    whole = FunctionContext(4, data)
    finetune({"lr": 0.05}, whole)
    torch.manual_seed(3)
    half = FunctionContext(2, data)
    finetune({"lr": 0.05}, half)
    torch.manual_seed(99)
    rest = continued(half, 4)
    finetune({"lr": 0.05}, rest)
    assert rest.history == whole.history


def test_a_resumed_function_that_loads_nothing_is_reported_to():
    data = prepare()
    context = FunctionContext(2, data)
    finetune({"lr": 0.05}, context)
    with pytest.raises(ConfigurationError, match=r"context\.load: must be called"):
        forgetful({}, continued(context, 4))


def test_a_folder_is_kept_beside_the_state(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.bin").write_bytes(b"weights")
    context = FunctionContext(2, scratch=tmp_path / "scratch")
    context.save_folder(tmp_path / "mine")
    context.report(val_loss=1.0)
    (tmp_path / "mine" / "model.bin").write_bytes(b"later")
    other = FunctionContext(2, scratch=tmp_path / "scratch")
    other.load_state_dict(context.state_dict())
    assert (other.load_folder() / "model.bin").read_bytes() == b"weights"


class Drained(Callback):
    def on_epoch_begin(self, trainer, epoch):
        raise NodeDrainedError("the node is being drained")


def test_an_interruption_ends_the_function_whatever_it_catches():
    context = FunctionContext(9, callbacks=[Drained()])
    with pytest.raises(TrialStopped):
        for _ in range(9):
            try:
                context.report(val_loss=1.0)
            except Exception:
                pytest.fail("an interruption is no Exception")
    assert context.epoch == 1 and isinstance(context.interruption, NodeDrainedError)


def test_parameters_change_after_the_epochs_that_say_so():
    parameters = {"lr": 0.1}

    def changed(epoch):
        return {"lr": 0.01} if epoch >= 2 else {}

    context = FunctionContext(3, parameters=parameters, changed=changed)
    seen = []
    for _ in range(3):
        seen.append(parameters["lr"])
        context.report(val_loss=1.0)
    assert seen == [0.1, 0.1, 0.01]
