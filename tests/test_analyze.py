import pytest

from raytune_ocr import analyze
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.report import report_page
from tests.fixtures.records import searched_run

PATHS = "{0}/report.html\n"


class Stopped(Exception):
    """Ends what would go on for ever."""


@pytest.fixture
def written(monkeypatch):
    """What the report is asked for, in the place of writing it."""
    asked = []

    def write_report(results, output, data, refresh):
        asked.append((results, output, data, refresh))
        if len(asked) == 1 and refresh:
            raise DataNotFoundError("run: no results yet")
        return output / "report.html"

    monkeypatch.setattr(report_page, "write_report", write_report)
    return asked


def test_a_report_is_written_once(written, tmp_path, capsys):
    assert analyze.main(["run", "--output", str(tmp_path), "--data", "images"]) == 0
    assert [(data, refresh) for _, _, data, refresh in written] == [("images", 0)]
    assert capsys.readouterr().out == PATHS.format(tmp_path)


def test_results_that_are_not_there_are_an_error_unless_they_are_waited_for(
    written, tmp_path, capsys, monkeypatch
):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 2:
            raise Stopped

    monkeypatch.setattr(analyze.time, "sleep", sleep)
    with pytest.raises(Stopped):
        analyze.main(["run", "--output", str(tmp_path), "--watch", "--every", "3"])
    out, err = capsys.readouterr()
    assert (out, err) == (PATHS.format(tmp_path), "waiting: run: no results yet\n")
    assert slept == [3, 3] and [refresh for *_, refresh in written] == [3, 3]


def test_a_missing_results_file_is_reported(tmp_path, capsys):
    assert analyze.main([str(tmp_path / "absent.json"), "--output", str(tmp_path / "out")]) == 2
    assert "absent.json" in capsys.readouterr().err


def test_a_pause_of_no_time_is_refused(capsys):
    with pytest.raises(SystemExit):
        analyze.build_parser().parse_args(["run", "--output", "out", "--every", "0"])
    assert "--every: must be" in capsys.readouterr().err


def test_of_several_runs_what_differs_is_printed(tmp_path, capsys):
    runs = [str(searched_run(tmp_path / name)) for name in ("one", "two")]
    assert analyze.main([*runs, "--output", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tmp_path}/out/report.html"
    assert lines[1].split() == ["one", "two"] and lines[-1].startswith("the same in all runs")
