import contextlib

import pytest

from raytune_ocr.dashboard import __main__ as command
from raytune_ocr.dashboard import serving
from tests.fixtures.records import searched_run


@pytest.fixture
def served(monkeypatch):
    """What would be served."""
    seen = []

    class Served(contextlib.nullcontext):
        url = "http://127.0.0.1:1/?token=secret"

        def __init__(self, runs, *options):
            super().__init__()
            seen.append((len(runs), *options))

    def interrupted(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "Serving", Served)
    monkeypatch.setattr(command.time, "sleep", interrupted)
    return seen


def test_one_line_has_the_url_and_ctrl_c_ends_it(served, tmp_path, capsys):
    folder = str(searched_run(tmp_path / "run"))
    assert command.main([folder, folder, "--port", "0", "--read-only"]) == 0
    assert served == [(2, "127.0.0.1", 0, True)]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("dashboard: http://127.0.0.1:1/?token=secret")


def test_the_page_of_a_run_that_tune_started_ends_with_tune(served, tmp_path):
    assert command.main([str(tmp_path), "--wait", "--parent", "1"]) == 0
    assert served == [(1, "127.0.0.1", command.PORT, False)]


def test_a_folder_without_a_run_is_an_error(tmp_path, capsys):
    assert command.main([str(tmp_path)]) == 2
    assert "contains neither" in capsys.readouterr().err
