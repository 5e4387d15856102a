"""Tests of the column encoder."""

import pytest
import torch
from torch import nn

from raytune_ocr.models import create_model, folded
from raytune_ocr.models.encoder import COLUMNS, CollapseRows, ColumnEncoder


def test_an_image_becomes_32_columns() -> None:
    columns = ColumnEncoder(temporal_width=40)(torch.randn(2, 1, 64, 128))
    assert columns.shape == (2, COLUMNS, 40) == (2, 32, 40)


def test_a_column_sees_its_neighbours_far_away() -> None:
    torch.manual_seed(0)
    encoder = ColumnEncoder().eval()
    images = torch.randn(1, 1, 64, 128, requires_grad=True)
    encoder(images)[0, COLUMNS // 2].sum().backward()
    assert images.grad is not None
    seen = images.grad.abs().sum(dim=(0, 1, 2)) > 0
    assert seen.float().mean() > 0.75


def test_what_a_column_sees_itself_counts_most_before_training() -> None:
    torch.manual_seed(0)
    encoder = ColumnEncoder()
    local = ColumnEncoder(dilations=())
    local.load_state_dict(encoder.state_dict(), strict=False)
    images = torch.randn(8, 1, 64, 128)
    alone = local(images)
    output = encoder(images) - alone
    assert output.square().mean() < 0.1 * alone.square().mean()


def test_columns_are_the_same_wherever_a_row_stands() -> None:
    collapse = CollapseRows(8, 8).eval()
    features = torch.randn(2, 8, 4, 32)
    assert torch.equal(collapse(features), collapse(features.flip(2)))


def test_the_number_of_channels_sets_the_number_of_convolutions() -> None:
    for channels in ((8, 8), (8, 8, 8, 8, 8, 8)):
        assert ColumnEncoder(channels=channels)(torch.randn(1, 1, 64, 128)).shape[1] == 32


@pytest.mark.parametrize(("patch", "blocks"), [(2, 0), (2, 1), (4, 0), (4, 2)])
def test_patches_and_blocks_leave_the_columns_as_many(patch: int, blocks: int) -> None:
    encoder = ColumnEncoder((8, 12, 16), temporal_width=20, patch=patch, blocks=blocks)
    assert encoder(torch.randn(2, 1, 64, 128)).shape == (2, 32, 20)


def test_a_column_keeps_the_strongest_of_its_rows() -> None:
    collapse = CollapseRows(3, 5).eval()
    features = torch.randn(2, 3, 4, 32)
    assert torch.equal(collapse(features), collapse.mix(features.amax(dim=2, keepdim=True)))


@pytest.mark.parametrize("name", ["ctc_small", "small"])
def test_a_folded_reader_reads_the_same_without_batch_norms(name: str) -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 1, 64, 128), dtype=torch.uint8)
    model = create_model(name)
    for _ in range(3):
        model(images)  # so that the running statistics are of something
    model.eval()
    reader = folded(model)
    with torch.inference_mode():
        torch.testing.assert_close(reader(images), model(images), rtol=1e-4, atol=1e-4)
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in reader.modules())
    assert folded(reader) is reader


def test_a_model_without_batch_norms_of_ours_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.BatchNorm2d(1))
    assert folded(model) is model
