"""Models that cannot be built: one draw of a search does not end the search."""

import pytest
from torch import nn

from raytune_ocr.errors import ModelCreationError
from raytune_ocr.models import ModelRegistry
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.execution.data_loading import check_models
from raytune_ocr.tune.execution.planning import record_of
from raytune_ocr.tune.space.search_space import read_space


class Picky(nn.Module):
    def __init__(self, num_classes=10, width=8, **others):
        super().__init__()
        if width % 8:
            raise ValueError(f"{width} cannot be divided by 8")


@pytest.fixture
def records(monkeypatch):
    """The trials of a file, with a model that some of them cannot have."""
    monkeypatch.setitem(ModelRegistry._factories, "picky", Picky)

    def read(**widths):
        experiments = {
            name: {"model": {"name": "picky", "options": {"width": width}}}
            for name, width in widths.items()
        }
        space = read_space({"experiments": experiments}, "space.yaml")
        return [
            record_of(experiment, point)
            for name, experiment in space.experiments.items()
            for point in space.points[name]
        ]

    return read


def test_single_draws_of_a_search_are_named_with_the_error(records):
    drawn = records(found={"grid": [8, 12, 16]})
    ((record, output),) = check_models(drawn)
    assert list(record.sampled.values()) == [12]
    assert "12 cannot be divided by 8" in output and "in __init__" in output


def test_a_file_without_a_trial_that_can_be_built_is_refused(records):
    with pytest.raises(ModelCreationError, match="12 cannot be divided"):
        check_models(records(found={"grid": [12, 20]}))


def test_a_preset_that_cannot_be_built_is_refused_before_anything_runs(records):
    with pytest.raises(ModelCreationError, match=r"experiments.wrong.model: .*12 cannot"):
        check_models(records(right=8, wrong=12))


SPACE = """
experiments:
  found:
    model: {name: picky, options: {width: {grid: [8, 12]}}}
"""


def test_an_invalid_draw_has_failed_with_its_values_before_the_others_train(
    records, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)
    tuner = HyperparameterTuner("space.yaml", output_dir="out")
    space = tuner.space()
    tuner.run.start(space, tuner.known(space), False)
    every = tuner.run.next()
    left = tuner.runner._without_invalid(every, check_models(every))
    assert len(left) == 1
    (failed,) = (record for record in every if record not in left)
    assert failed.failed and "width=12" in failed.error_message
    assert "12 cannot be divided by 8" in capsys.readouterr().err
