import math
from contextlib import suppress

from raytune_ocr.errors import TrialStopped
from raytune_ocr.tasks import FunctionContext
from raytune_ocr.tasks.function_callbacks import (
    BestState,
    EpochReport,
    FunctionEarlyStopping,
    read_context,
    write_context,
)
from raytune_ocr.training.checkpoints.run_folder import RunFolder
from raytune_ocr.training.checkpoints.state_files import read_state
from tests.tasks.test_function import config_of


def test_an_epoch_without_the_metric_is_no_improvement(tmp_path):
    config = config_of(tmp_path, early_stopping_patience=2)
    context = FunctionContext(9, callbacks=[FunctionEarlyStopping.of(config)])
    context.report(val_mae=1.0)
    context.report(val_loss=0.1)
    assert not context.should_stop
    with suppress(TrialStopped):
        context.report(val_mae=math.nan)
    assert context.stop_reason == "early_stopping"


def test_the_best_state_is_that_of_the_best_epoch_in_which_something_was_saved(tmp_path):
    config = config_of(tmp_path)
    folder = RunFolder(tmp_path, "trial")
    context = FunctionContext(4, callbacks=[BestState(config, folder)])
    for value, saves in ((0.5, True), (0.4, True), (0.1, False), (0.9, True)):
        if saves:
            context.save(value=value)
        context.report(val_mae=value)
    best = read_state(folder.best_model)
    assert best["epoch"] == 2 and best["state"] == {"value": 0.4}


def test_a_report_without_the_metric_has_no_score_and_no_column_of_it(tmp_path):
    reports = []
    report = EpochReport(config_of(tmp_path), lambda row, folder: reports.append(row))
    FunctionContext(2, callbacks=[report]).report(val_loss=1.0)
    assert math.isnan(reports[0]["best_score"]) and reports[0]["reported"] == ["val_loss"]


def test_a_context_is_read_back_with_its_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "weights").write_text("w")
    context = FunctionContext(2, scratch=tmp_path / "a")
    context.save_folder(tmp_path / "mine")
    context.report(val_mae=1.0)
    (tmp_path / "kept").mkdir()
    write_context(context, tmp_path / "kept")
    other = FunctionContext(2, scratch=tmp_path / "b")
    read_context(other, tmp_path / "kept")
    assert other.epoch == 1 and (other.load_folder() / "weights").read_text() == "w"
