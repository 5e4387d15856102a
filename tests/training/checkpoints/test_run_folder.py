from pathlib import Path

from raytune_ocr.training.checkpoints.run_folder import RunFolder


def test_every_path_of_a_run_is_in_its_own_folder_and_no_two_are_one(tmp_path):
    run = RunFolder(tmp_path, "one")
    assert run.path == tmp_path / "one"
    names = [name for name, value in vars(RunFolder).items() if isinstance(value, property)]
    paths = [getattr(run, name) for name in names]
    assert len(paths) >= 4 and len(set(paths)) == len(paths)
    for path in paths:
        assert isinstance(path, Path) and run.path in path.parents
