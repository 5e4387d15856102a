"""What others wrote into a results JSON is checked where it is read."""

import json

import pytest

from raytune_ocr.errors import DataLoaderError
from raytune_ocr.results.document import read_document

RESULT = {"experiment_name": "a", "status": "completed", "hyperparameters": {}}


def read(folder, **document):
    path = folder / "r.json"
    path.write_text(json.dumps({"all_results": [RESULT], **document}))
    return read_document(path)[1]


@pytest.mark.parametrize(
    "document, message",
    [
        ({"all_results": [{**RESULT, "config": 3}]}, r"all_results\[0\].config: must be a mapping"),
        ({"all_results": [{**RESULT, "status": []}]}, r"all_results\[0\].status: must be text"),
        ({"all_results": [{**RESULT, "targets": {"a": 1}}]}, "must have a mapping with `met`"),
        ({"all_results": [{**RESULT, "targets": {"a": {"goal": 1}}}]}, "must have a mapping with"),
        ({"all_results": [{**RESULT, "x_interval": [1]}]}, "x_interval: must be two numbers"),
        ({"confirmation": "a"}, "confirmation: must be a mapping, got 'a'"),
        ({"confirmation": {"candidates": [{}]}}, r"confirmation.candidates: must be mappings"),
        ({"confirmation": {"scores": {"x": 1}}}, "scores: must have a score for each seed"),
    ],
)
def test_a_value_of_another_kind_is_named_with_its_place(tmp_path, document, message):
    with pytest.raises(DataLoaderError, match=rf"r\.json: .*{message}"):
        read(tmp_path, **document)


def test_a_figure_that_is_no_number_is_missing(tmp_path):
    odd = {**RESULT, "best_val_char_accuracy": "x", "total_epochs": True, "config": {"seed": "x"}}
    (result,) = read(tmp_path, all_results=[odd])["all_results"]
    assert result["best_val_char_accuracy"] is result["total_epochs"] is None
    assert result["config"] == {"seed": "x"}  # who uses a config checks it


def test_a_number_that_no_float_holds_is_refused(tmp_path):
    with pytest.raises(DataLoaderError, match="too many digits"):
        read(tmp_path, targets={"accuracy": 10**400})


def test_results_without_a_name_or_a_status_are_read(tmp_path):
    document = read(tmp_path, all_results=[{}])
    assert document["all_results"] == [{"experiment_name": "?", "status": "?"}]
