import subprocess
import sys

import pytest
import yaml

from raytune_ocr.errors import (
    ConfigurationError,
)
from raytune_ocr.training import (
    ExperimentManager,
)


def test_experiments_are_numbered_one_after_the_other(tmp_path):
    (tmp_path / "exp7").mkdir()
    (tmp_path / "experiment").mkdir()
    assert ExperimentManager(tmp_path).name == "exp8"
    assert ExperimentManager(tmp_path).name == "exp9"


def test_processes_that_start_at_once_never_share_a_number(tmp_path):
    code = (
        "import sys\nfrom raytune_ocr.training import ExperimentManager\nsys.stdin.readline()\n"
        "print([ExperimentManager(sys.argv[1]).name for _ in range(20)])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    names = [name for process in processes for name in yaml.safe_load(process.communicate()[0])]
    assert sorted(names) == sorted(f"exp{number}" for number in range(1, 61))


def test_a_resume_of_what_is_not_there_lists_what_is(tmp_path):
    ExperimentManager(tmp_path)
    with pytest.raises(ConfigurationError, match=r"'exp2' \(known: exp1\)"):
        ExperimentManager(tmp_path, resume_exp="exp2")
    with pytest.raises(ConfigurationError, match="only one can be given"):
        ExperimentManager(tmp_path, resume_exp="exp1", fork_exp="exp1")


def test_a_folder_that_cannot_be_written_to_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"base_dir: cannot make .* Not a directory"):
        ExperimentManager(tmp_path / "file" / "runs")


def test_one_process_at_a_time_trains_in_a_folder(tmp_path):
    manager = ExperimentManager(tmp_path)
    other = ExperimentManager(tmp_path, resume_exp=manager.name)
    found = r"in use by another training process.*--fork exp1"
    with manager.locked(), pytest.raises(ConfigurationError, match=found), other.locked():
        pass
    with other.locked():
        pass
