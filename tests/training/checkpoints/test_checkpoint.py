import pickle
from collections import OrderedDict, defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.training import CheckpointManager
from raytune_ocr.training.checkpoints.state_files import write_state


def saved(folder, epochs, keep=3):
    manager = CheckpointManager(folder, keep_n_checkpoints=keep)
    model = nn.Linear(100, 100)
    for epoch in epochs:
        manager.save_checkpoint(model, None, None, epoch, {"loss": 1 / epoch}, is_best=epoch == 2)
    return manager


def test_the_newest_few_stay_and_the_best_is_kept_apart(tmp_path):
    manager = saved(tmp_path, [1, 2, 3, 9, 10], keep=2)
    assert [manager.load_checkpoint(p)["epoch"] for p in manager.list_checkpoints()] == [9, 10]
    assert manager.load_best_model()["epoch"] == 2


def test_without_a_best_there_is_none(tmp_path):
    assert saved(tmp_path, [1]).load_best_model() is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, damage, caplog):
    manager = saved(tmp_path, [1, 2, 3])
    newest = manager.list_checkpoints()[-1]
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        middle = len(content) // 2
        content[middle] ^= 0xFF
    newest.write_bytes({"truncated": content[:-900], "flipped": content, "empty": b""}[damage])
    assert manager.load_latest()["epoch"] == 2
    assert newest.name in caplog.text
    with pytest.raises(CheckpointError, match="damaged"):
        manager.load_checkpoint(newest)


def test_a_checkpoint_with_foreign_code_is_not_unpickled(tmp_path):
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "pickled.pt")
    with pytest.raises(CheckpointError, match=r"pickled\.pt"):
        CheckpointManager(tmp_path).load_checkpoint(tmp_path / "pickled.pt")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    manager = saved(tmp_path, [1])
    path = manager.list_checkpoints()[0]
    before = path.read_bytes()
    bad = torch.ones(1)
    bad.hook = lambda: None  # is pickled with it
    with pytest.raises((AttributeError, pickle.PicklingError), match="pickle"):
        manager.save_state({"epoch": 1, "bad": bad}, 1)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def epochs_in(manager):
    return [manager.load_checkpoint(path)["epoch"] for path in manager.list_checkpoints()]


def test_a_shorter_training_in_the_same_folder_keeps_its_own_newest_checkpoints(tmp_path):
    saved(tmp_path, [38, 39, 40])
    manager = CheckpointManager(tmp_path, keep_n_checkpoints=2)
    model = nn.Linear(2, 2)
    for epoch in (1, 2, 3):
        path = manager.save_checkpoint(model, None, None, epoch, {})
        assert Path(path).exists()
    assert epochs_in(manager) == [2, 3]


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
@pytest.mark.parametrize("name", ["keep_n_checkpoints", "save_frequency"])
def test_numbers_below_one_are_refused(tmp_path, name, number):
    with pytest.raises(ConfigurationError, match=f"{name}: must be an integer >= 1, got {number}"):
        CheckpointManager(tmp_path, **{name: number})


def test_the_second_argument_is_the_one_of_both_documents(tmp_path):
    manager = CheckpointManager(tmp_path, 5)
    assert (manager.save_frequency, manager.keep_n_checkpoints) == (5, 5)
    assert [epoch for epoch in range(1, 16) if manager.is_due(epoch)] == [5, 10, 15]
    default = CheckpointManager(tmp_path)
    assert (default.save_frequency, default.keep_n_checkpoints) == (10, 3)
    third = CheckpointManager(str(tmp_path), 3, False)
    assert (third.keep_n_checkpoints, third.save_best) == (3, False)


def test_a_checkpoint_of_every_epoch_keeps_them_all_unless_told_otherwise(tmp_path):
    model = nn.Linear(2, 2)
    every = CheckpointManager(checkpoints_dir=tmp_path / "all", save_frequency=1)
    few = CheckpointManager(tmp_path / "few", save_frequency=1, keep_n_checkpoints=2)
    for epoch in range(1, 7):
        every.save_epoch_checkpoint(model, None, epoch, 0.5, 80.0)
        few.save_epoch_checkpoint(model, None, epoch, 0.5, 80.0)
    assert epochs_in(every) == [1, 2, 3, 4, 5, 6]
    assert epochs_in(few) == [5, 6]


def test_metrics_may_be_numbers_of_numpy(tmp_path):
    manager = CheckpointManager(tmp_path)
    metrics = {"accuracy": np.float64(0.5), "epoch": np.int32(1)}
    path = manager.save_checkpoint(nn.Linear(2, 2), None, None, 1, metrics, True)
    assert manager.load_checkpoint(path)["metrics"] == {"accuracy": 0.5, "epoch": 1}
    assert manager.save_best_model(nn.Linear(2, 2), None, 2, np.float32(0.1), np.float64(90.0))
    assert CheckpointManager(tmp_path).best_accuracy == 90.0


def test_metrics_may_be_numbers_of_numpy_in_any_nesting(tmp_path):
    manager = CheckpointManager(tmp_path)
    deep = {"pair": (np.float32(0.5), [np.int64(3)]), "counts": np.array([[1, 2]])}
    metrics = OrderedDict(deep=defaultdict(dict, deep), flag=np.bool_(True))
    path = manager.save_checkpoint(nn.Linear(2, 2), None, None, np.int64(1), metrics)
    read = manager.load_checkpoint(path)["metrics"]
    assert read["deep"]["pair"] == (0.5, [3]) and read["flag"] is True
    assert read["deep"]["counts"].tolist() == [[1, 2]]


@pytest.mark.parametrize("value", [Path("a"), object(), lambda: 0, datetime(2020, 1, 1)])
def test_what_could_not_be_loaded_again_is_refused_by_name_when_it_is_saved(tmp_path, value):
    manager = CheckpointManager(tmp_path)
    with pytest.raises(ConfigurationError, match=r"extra\.of\[1\]: must be a tensor"):
        manager.save_checkpoint(
            nn.Linear(2, 2), None, epoch=1, extra_state={"extra": {"of": [1, value]}}
        )
    assert manager.list_checkpoints() == []


def test_a_missing_checkpoint_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        CheckpointManager(tmp_path).load_checkpoint(tmp_path / "none.pt")


def test_a_checkpoint_without_weights_is_a_key_error(tmp_path):
    write_state(tmp_path / "a.pt", {"epoch": 1})
    with pytest.raises(KeyError, match="must have model_state_dict"):
        CheckpointManager(tmp_path).load_checkpoint(tmp_path / "a.pt", nn.Linear(2, 2))


def test_a_shorter_training_with_fewer_checkpoints_than_are_kept_leaves_none_of_the_older_one(
    tmp_path,
):
    saved(tmp_path, [38, 39, 40])
    manager = CheckpointManager(tmp_path, keep_n_checkpoints=3)
    for epoch in (1, 2):
        manager.save_checkpoint(nn.Linear(2, 2), None, None, epoch, {})
    assert epochs_in(manager) == [1, 2]
    assert manager.load_latest()["epoch"] == 2
