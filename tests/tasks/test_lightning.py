import torch

from raytune_ocr.tasks.context import FunctionContext
from tests.fixtures.own_tasks import example, train, train_with_a_break, without_cost

PARAMETERS = {"learning_rate": 0.01, "width": 16, "batch_size": 32}


def test_each_epoch_is_reported_with_what_the_module_logs():
    module = example("regression")
    context = train(module, PARAMETERS, 3, module.prepare())
    assert set(context.history) >= {"train_mae", "val_mae"}
    assert context.epoch == 3 and context.history["val_mae"][-1] < context.history["val_mae"][0]


def test_a_resumed_training_continues_as_if_it_had_never_stopped(tmp_path):
    module = example("regression")
    data = module.prepare()
    whole = train(module, PARAMETERS, 3, data)
    parts = train_with_a_break(module, PARAMETERS, 3, tmp_path, data)
    assert without_cost(parts.rows) == without_cost(whole.rows)


def test_the_trainer_gets_the_epochs_and_the_device_of_the_trial():
    from raytune_ocr.tasks.lightning import trainer_options

    options = trainer_options(FunctionContext(7, device=torch.device("cpu")))
    assert (options["max_epochs"], options["accelerator"]) == (7, "cpu")
    assert trainer_options(FunctionContext(7, device="cuda"))["accelerator"] == "gpu"
