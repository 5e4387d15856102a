import pytest

from raytune_ocr.tune.__main__ import main
from tests.fixtures.materials import command


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_a_wrong_command_line_is_reported_before_anything_runs(
    write_space, data, tmp_path, capsys, arguments, message
):
    base = command(write_space(), data, tmp_path / "new" / "out")
    assert main([*base, *arguments]) == 2
    assert message in capsys.readouterr().err
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


def test_a_function_may_be_named_on_the_command_line(tmp_path, capsys):
    own = tmp_path / "own.yaml"
    own.write_text("experiments: {a: {parameters: {lr: 0.1}, metric: {name: val_mae}}}\n")
    base = ["--config", str(own), "--output-dir", str(tmp_path / "out"), "--dry-run"]
    assert main([*base, "--trainable", "tests.fixtures.own_training:finetune"]) == 0
    assert "tests.fixtures.own_training:finetune  lr 0.1" in capsys.readouterr().out
    assert main([*base, "--trainable", "tests.fixtures.own_training:fine"]) == 2
    assert "did you mean 'finetune'" in capsys.readouterr().err


def test_a_target_of_no_task_is_refused_and_any_of_ones_own_is_taken(tmp_path, capsys):
    own = tmp_path / "own.yaml"
    own.write_text("trainable: tests.fixtures.own_training:finetune\n")
    base = ["--output-dir", str(tmp_path / "out"), "--list", "--target", "val_f1=0.9"]
    assert main(["--config", "smoke", *base]) == 2
    assert "--target: val_f1: unknown target" in capsys.readouterr().err
    assert main(["--config", str(own), *base]) == 0
