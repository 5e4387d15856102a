import subprocess
import sys

import pytest

import raytune_ocr
from raytune_ocr.cli import COMMANDS, again, answer, main
from raytune_ocr.errors import DataLoaderError
from raytune_ocr.tune.__main__ import _resume_command


def test_without_a_command_the_commands_are_listed(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "example" in capsys.readouterr().out


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=str)
def test_every_command_tells_its_version(command, capsys):
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(main([*command, "--version"]))
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"raytune-ocr {raytune_ocr.__version__}\n"


def test_an_unknown_command_suggests_the_nearest(capsys):
    assert main(["tunes"]) == 2
    assert "did you mean 'tune'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataLoaderError("a: wrong\nb: wrong"), 2, "error: a: wrong\nerror: b: wrong\n"),
        (PermissionError(13, "Permission denied", "out"), 2, "Permission denied: 'out'"),
        (KeyboardInterrupt(), 130, "stopped; begin again\n"),
    ],
)
def test_what_ends_a_command_is_reported_without_a_traceback(error, status, message, capsys):
    def command():
        raise error

    assert answer(command, "stopped; begin again") == status
    assert message in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error():
    code = (
        "import sys\nfrom raytune_ocr.cli import answer\n"
        "sys.exit(answer(lambda: [print('line') for _ in range(100_000)] and 0))"
    )
    words = f'{sys.executable} -c "{code}" | head -1'
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("line\n", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_run_continues_after_the_reader_of_its_output_has_gone(tmp_path, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    code = (
        "import sys\nfrom pathlib import Path\nfrom raytune_ocr.cli import open_streams\n"
        "open_streams(to_the_end=True)\n"
        "for _ in range(100_000): print('line')\n"
        "print('also this', file=sys.stderr)\nPath('done').touch()"
    )
    words = f'{sys.executable} -c "{code}" | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("line\n", "also this\n", 0)
    assert (tmp_path / "done").exists()


def test_a_command_to_continue_with_can_be_pasted(monkeypatch):
    found = _resume_command(["--data", "my images", "--resume-if-any"])
    assert found.endswith("-m raytune_ocr.tune --data 'my images' --resume")
    assert subprocess.run(again("tune", ["--list"]), shell=True).returncode == 0
    monkeypatch.setattr(sys, "executable", "/somewhere/else/python3")
    assert again("train", []) == "/somewhere/else/python3 -m raytune_ocr.train"
