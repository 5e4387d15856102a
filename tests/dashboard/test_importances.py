import sys

import pytest

from raytune_ocr.dashboard import importances as module
from raytune_ocr.dashboard.importances import fanova_of, importances
from raytune_ocr.dashboard.snapshot import snapshots
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from raytune_ocr.results.journal import Journal
from tests.fixtures.records import searched_run, trial


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with the trials of its results in its journal as well."""
    folder = searched_run(tmp_path_factory.mktemp("insight") / "run")
    records = {}
    for number in range(8):
        settings = {"learning_rate": 1e-3 * (number + 1), "batch_size": (16, 32)[number % 2]}
        records[f"trial_{number}"] = trial(folder, number, 0.5 + number / 20, **settings)
    Journal(folder).rewrite(records, {})
    return snapshots([folder])[0]


def test_fanova_stands_beside_our_estimate_with_its_spread(run, monkeypatch):
    monkeypatch.setattr(module, "FORESTS", 2)
    found = importances(run.source, run.document())
    assert found["ours"][0]["setting"] == "learning_rate"
    fanova = {row["setting"]: row for row in found["fanova"]}
    assert set(fanova) == {"learning_rate", "batch_size"}
    assert fanova["learning_rate"]["importance"] > fanova["batch_size"]["importance"]
    for row in fanova.values():
        assert row["low"] <= row["importance"] <= row["high"]


@pytest.mark.parametrize("missing", ["optuna", "sklearn"])
def test_without_optuna_the_page_says_how_to_get_it(run, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    assert fanova_of(run.document()) == (
        [],
        "fANOVA needs Optuna and scikit-learn: pip install 'raytune-ocr[optuna]'",
    )


def test_few_trials_have_no_importance(tmp_path):
    record = trial(tmp_path, 0, 0.5)
    write_json(tmp_path / RESULTS_COPY, results_document([record], {}, "now"))
    found = importances(tmp_path, snapshots([tmp_path])[0].document())
    assert found["ours"] == [] and "at least 5 trials" in found["note"]


def document_of(rows):
    """A run's document with a score and the settings `width` and `kind` of each trial."""
    kinds = {"trial": "info", "score": "info", "width": "setting", "kind": "setting"}
    columns = [{"id": name, "kind": kind} for name, kind in kinds.items()]
    return {"mode": "max", "columns": columns, "trials": rows}


def test_fanova_takes_settings_of_mixed_types_and_needs_scores_that_differ(monkeypatch):
    monkeypatch.setattr(module, "FORESTS", 1)
    rows = [[f"t{n}", n / 10, (64, "auto")[n % 2], float(n)] for n in range(8)]
    found, note = fanova_of(document_of(rows))
    assert {row["setting"] for row in found} == {"width", "kind"} and note == ""
    same = [[name, 0.0, *settings] for name, _, *settings in rows]
    assert fanova_of(document_of(same)) == ([], "All trials have the same score.")


def test_a_conditional_setting_is_left_out_of_fanova_and_not_its_trials(monkeypatch):
    monkeypatch.setattr(module, "FORESTS", 1)
    rows = [[f"t{n}", n / 10, n, None if n % 2 else "a"] for n in range(12)]
    found, note = fanova_of(document_of(rows))
    assert [row["setting"] for row in found] == ["width"] and note.endswith("no value of: kind.")
    rows = [[name, score, None, kind] for name, score, _, kind in rows]
    assert fanova_of(document_of(rows))[0] == []


def test_forests_without_variance_are_a_note(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("Encountered zero total variance in all trees.")

    monkeypatch.setattr(module, "_forests", fail)
    rows = [[f"t{n}", n / 10, n, "ab"[n % 2]] for n in range(8)]
    assert fanova_of(document_of(rows)) == (
        [],
        "fANOVA: Encountered zero total variance in all trees.",
    )


def test_the_same_trials_are_estimated_once(monkeypatch):
    monkeypatch.setattr(module, "FORESTS", 1)
    rows = [[f"t{n}", n / 20, n, "ab"[n % 2]] for n in range(8)]
    made = module._forests.cache_info().misses
    assert fanova_of(document_of(rows)) == fanova_of(document_of(rows))
    assert module._forests.cache_info().misses == made + 1


def test_a_run_in_progress_has_the_fanova_of_its_trials_so_far(run, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FORESTS", 1)
    found = importances(tmp_path, run.document())  # no results JSON yet
    assert {row["setting"] for row in found["fanova"]} == {"learning_rate", "batch_size"}
    assert found["ours"] == [] and found["note"] == module.UNFINISHED
