import pytest

from raytune_ocr.tune.__main__ import main
from tests.fixtures.materials import command


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--set", "batch_size=0"], "--set batch_size: must be an integer >= 1, got 0"),
        (["--set", "batch_size"], "must be KEY=VALUE"),
        (["--set", "batchsize=3"], "did you mean 'batch_size'"),
        (["--experiments", "frist"], "did you mean 'first'"),
        (["--config", "absent.yaml"], "no such configuration file"),
        (["--data", "absent"], "no such data file"),
        (["--set", "model_name=smal"], "did you mean 'small'"),
        (["--results-file", "/"], "--results-file: must be a file that can be written, got /"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_runs(
    write_space, data, tmp_path, capsys, arguments, told
):
    base = command(write_space(), data, tmp_path / "new" / "out")
    assert main([*base, *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_looking_trains_nothing(write_space, data, tmp_path, capsys):
    base = command(write_space(), data, tmp_path / "out")
    for flag, shown in (
        ("--list", "first"),
        ("--dry-run", "rungs"),
        ("--list-models", "ctc_small"),
    ):
        assert main([*base, flag]) == 0
        assert shown in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
