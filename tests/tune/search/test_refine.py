"""Results of others that name modules: their code does not run for it."""

import sys

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.search.refine import refine
from raytune_ocr.tune.selection.reproduce import reproduce
from raytune_ocr.tune.space.search_space import read_space


@pytest.fixture
def results_of_others(tmp_path, monkeypatch):
    """A results JSON with a module that would leave a mark if it were imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "of_the_sender.py").write_text("open('it_ran', 'w')")
    config = TrainingConfig(experiment_name="theirs", imports=["of_the_sender"])
    record = TrialRecord(config, status="completed", stop_reason="max_epochs")
    record.add({"epoch": 1, "val_char_accuracy": 0.9, "train_loss": 1.0, "seconds": 1.0})
    write_json(tmp_path / "results.json", results_document([record], {}, "t"))
    yield tmp_path / "results.json"
    sys.modules.pop("of_the_sender", None)


def space_of(**sections):
    return read_space({"experiments": {"mine": sections}}, "space.yaml")


def test_refine_imports_a_module_only_where_the_caller_names_it(results_of_others):
    with pytest.raises(ConfigurationError, match="--import of_the_sender"):
        refine(space_of(), [results_of_others])
    assert not results_of_others.with_name("it_ran").exists()
    refine(space_of(model={"imports": ["of_the_sender"]}), [results_of_others])
    assert results_of_others.with_name("it_ran").exists()


def test_reproduce_imports_a_module_only_where_the_caller_names_it(results_of_others, tmp_path):
    (tmp_path / "epochs.csv").write_text("experiment_name,epoch,train_loss\ntheirs,1,1.0\n")
    with pytest.raises(ConfigurationError, match="--import of_the_sender"):
        reproduce(results_of_others, say=lambda line: None)
    assert not (tmp_path / "it_ran").exists()
    with pytest.raises(DataNotFoundError, match="nowhere"):
        reproduce(
            results_of_others, data="nowhere", imports=["of_the_sender"], say=lambda line: None
        )
    assert (tmp_path / "it_ran").exists()
