import pytest
import torch
from torch import nn

from raytune_ocr.errors import CheckpointError
from raytune_ocr.training import CheckpointManager


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
    with pytest.raises(Exception, match="pickle"):
        manager.save_state({"epoch": 1, "bad": lambda: None}, 1)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []
