"""Checkpoint files carry a digest of what they hold, and are read back or refused."""

import random
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from raytune_ocr.errors import CheckpointError, CheckpointNotFoundError, IncompleteCheckpointError
from raytune_ocr.training.checkpoints.state_files import digest_of, part_of, read_state, write_state


def example():
    model = nn.Linear(64, 64)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 64)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model_state_dict": model.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "history": {"loss": [1.0, float("nan")], "pairs": [(0, 0.5)]},
    }


def same(ours, theirs):
    return digest_of(ours) == digest_of(theirs)


def test_what_is_written_is_read_back_without_the_digest(tmp_path):
    state = example()
    write_state(tmp_path / "state.pt", state)
    read = read_state(tmp_path / "state.pt")
    assert list(read) == list(state)
    assert same(read, state)
    assert type(read["history"]["pairs"][0]) is tuple


def test_no_flipped_bit_of_a_checkpoint_goes_by_unnoticed(tmp_path):
    path = tmp_path / "state.pt"
    state = example()
    write_state(path, state)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    draw = random.Random(1)
    places = {draw.randrange(len(whole)) for _ in range(150)}
    places |= {draw.randrange(directory, len(whole)) for _ in range(250)}
    refused = 0
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            assert same(read_state(path), state), f"byte {place}"
        except CheckpointError:
            refused += 1
    assert refused > 100


def test_an_attribute_that_makes_a_tensor_an_empty_folder_is_found(tmp_path):
    path, state = tmp_path / "state.pt", example()
    write_state(path, state)
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        name = next(n for n in archive.namelist() if n.endswith("data/0"))
    entry = damaged.rindex(name.encode())  # in the directory, whose header is 46 bytes before it
    damaged[entry - 46 + 38] |= 0x10  # MS-DOS's attribute of a folder
    path.write_bytes(damaged)
    # PyTorch leaves the tensor as the memory was, which may hold the freed state by chance.
    try:
        assert same(read_state(path), state)
    except CheckpointError as error:
        assert "state.pt: damaged" in str(error)


def test_a_tensor_of_more_elements_than_its_file_can_hold_is_refused_without_memory(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"w": {"list": [torch.zeros(1).expand(2**40)]}, "digest": "0" * 64}, path)
    with pytest.raises(CheckpointError, match=r"state\.pt: a tensor must have at most .* bytes"):
        read_state(path)
    torch.save({"w": torch.zeros(1).expand(1000)}, path)  # as a person's own state may have it
    assert read_state(path)["w"].shape == (1000,)


def test_a_compressed_checkpoint_that_unpacks_to_more_than_its_size_is_refused(tmp_path):
    write_state(tmp_path / "whole.pt", {"w": torch.zeros(1_000_000)})
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as small,
    ):
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    with pytest.raises(CheckpointError, match=r"small\.pt: its parts must not be larger"):
        read_state(tmp_path / "small.pt")


def test_a_checkpoint_of_an_earlier_version_has_no_digest_and_loads(tmp_path):
    state = example()
    torch.save(state, tmp_path / "old.pt")
    assert same(read_state(tmp_path / "old.pt"), state)


def test_numbers_of_numpy_are_saved_as_pythons(tmp_path):
    state = {"metrics": {"accuracy": np.float32(0.5), "epoch": np.int64(3)}, "ok": np.bool_(True)}
    write_state(tmp_path / "state.pt", state)
    read = read_state(tmp_path / "state.pt")
    assert read == {"metrics": {"accuracy": 0.5, "epoch": 3}, "ok": True}
    assert type(read["metrics"]["epoch"]) is int and type(read["ok"]) is bool


def test_a_missing_checkpoint_is_also_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such checkpoint") as raised:
        read_state(tmp_path / "none.pt")
    assert isinstance(raised.value, CheckpointNotFoundError)


def test_a_missing_key_is_also_a_key_error_that_reads_as_a_sentence():
    with pytest.raises(KeyError) as raised:
        part_of({"epoch": 1}, "model_state_dict", "a.pt")
    assert isinstance(raised.value, IncompleteCheckpointError)
    assert str(raised.value) == "a.pt: must have model_state_dict, has epoch"


def test_a_file_of_something_else_is_no_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="must be a mapping"):
        read_state(tmp_path / "list.pt")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": [1, 2]}, {"a": [1], "b": 2}),
        ({"a": torch.zeros(2, 3)}, {"a": torch.zeros(3, 2)}),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.int32)}),
        ({"a": "1"}, {"a": 1}),
        ({"a": True}, {"a": 1}),
    ],
)
def test_values_that_differ_have_different_digests(one, other):
    assert digest_of(one) != digest_of(other)


def test_a_digest_is_of_the_values_and_not_of_their_memory():
    matrix = torch.arange(6.0).reshape(2, 3)
    assert digest_of({"a": matrix.T}) == digest_of({"a": matrix.T.contiguous()})
