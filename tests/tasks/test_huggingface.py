from types import SimpleNamespace

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tasks.context import FunctionContext
from tests.fixtures.own_tasks import example, train, train_with_a_break, without_cost

PARAMETERS = {"learning_rate": 2e-3, "width": 16, "layers": 1}


@pytest.fixture(scope="module")
def data():
    return example("text_classification").prepare(120)


def test_a_resumed_training_continues_as_if_it_had_never_stopped(tmp_path, data):
    module = example("text_classification")
    whole = train(module, PARAMETERS, 3, data)
    assert set(whole.history) >= {"train_loss", "eval_loss", "eval_macro_f1"}
    assert "eval_runtime" not in whole.history
    parts = train_with_a_break(module, PARAMETERS, 3, tmp_path, data)
    assert without_cost(parts.rows) == without_cost(whole.rows)


def test_a_checkpoint_before_the_evaluation_of_its_epoch_is_not_reported(tmp_path):
    from raytune_ocr.tasks.huggingface import TrialCallback

    context = FunctionContext(2)
    callback, arguments = TrialCallback(context), SimpleNamespace(output_dir=tmp_path)
    state = SimpleNamespace(global_step=7)
    (tmp_path / "checkpoint-7").mkdir()
    for epoch in (1, 2):
        callback.on_save(arguments, state, None)  # as Transformers 4 does after the last step
        callback.on_evaluate(arguments, state, None, {"eval_loss": 1 / epoch})
        callback.on_save(arguments, state, None)
    assert context.history == {"eval_loss": [1.0, 0.5]}


def test_arguments_that_do_not_save_each_epoch_are_reported(tmp_path):
    from transformers import TrainingArguments

    from raytune_ocr.tasks.huggingface import TrialCallback, training_options

    context = FunctionContext(2)
    options = {**training_options(context, tmp_path), "save_strategy": "no"}
    with pytest.raises(ConfigurationError, match=r"save_strategy must be 'epoch' .* got 'no'"):
        TrialCallback(context).on_train_begin(TrainingArguments(**options), None, None)
