import pytest

from raytune_ocr.tune.cli import reproduce_command
from raytune_ocr.tune.cli.parser import build_parser


@pytest.fixture
def asked(monkeypatch):
    """What is to be trained again, in the place of training it."""
    calls = []

    def reproduce(results, trial, *, data, allow_outside, imports, say):
        calls.append((results, trial, data, allow_outside, imports))
        say("compared")
        return results == "same"

    monkeypatch.setattr(reproduce_command, "reproduce", reproduce)
    return calls


@pytest.mark.parametrize(("results", "status"), [("same", 0), ("other", 1)])
def test_the_exit_status_tells_whether_it_came_out_the_same(asked, capsys, results, status):
    words = ["--reproduce", results, "--trial", "one", "--data", "images", "--import", "mine"]
    assert reproduce_command.main(build_parser().parse_args(words)) == status
    assert asked == [(results, "one", "images", False, ["mine"])]
    assert capsys.readouterr().out == "compared\n"


def test_quiet_prints_nothing(asked, capsys):
    reproduce_command.main(build_parser().parse_args(["--reproduce", "same", "--quiet"]))
    assert capsys.readouterr().out == ""
