"""The table of a notebook escapes what others wrote, and is replaced in place."""

import sys
from types import SimpleNamespace

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.terminal.notebook import MOST_ROWS, html_table, in_notebook
from tests.fixtures.materials import train_record


def trials(number=2):
    made = [
        TrialRecord(TrainingConfig(experiment_name=f"t{n}", learning_rate=0.1 / (n + 1)))
        for n in range(number)
    ]
    for record in made:
        train_record(record, 2, 0.5)
    return made


def test_each_trial_is_a_row_with_the_settings_that_differ():
    html = html_table(trials(), "a run")
    assert html.startswith("<p>a run</p><table>") and html.count("<tr>") == 3
    assert "<th>learning_rate</th>" in html and "<td>0.05</td>" in html
    assert "<th>batch_size</th>" not in html


def test_text_of_others_is_no_html():
    (record,) = trials(1)
    record.stop_reason = "<script>"
    html = html_table([record], "<b>")
    assert "<script>" not in html and "&lt;script&gt;" in html and "&lt;b&gt;" in html


def test_what_is_left_out_is_counted_and_a_run_without_trials_has_an_empty_table():
    assert "and 11 more" in html_table(trials(MOST_ROWS + 10), "a run")
    assert html_table([], "a run").count("<td>") == 0


def test_a_notebook_is_a_process_with_a_kernel(monkeypatch):
    assert not in_notebook()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert in_notebook()
    shell.kernel = None
    assert not in_notebook()
