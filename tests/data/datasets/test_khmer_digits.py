import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from raytune_ocr.config.training_config import DEFAULT_METADATA_PATH, TrainingConfig
from raytune_ocr.data import DatasetRegistry, create_dataset, generate_dataset
from raytune_ocr.data.synthesis.glyphs import DEVELOPMENT_FAMILIES, belongs_to
from raytune_ocr.errors import DataLoaderError


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A set on disk to validate on."""
    return generate_dataset(tmp_path_factory.mktemp("digits"), 40, seed=3)


def test_digits_train_on_composed_images_and_are_validated_on_the_split(digits):
    config = TrainingConfig(
        metadata_path=str(digits), batch_size=16, dataset_options={"composed": 40}
    )
    train, val = create_dataset(config).loaders(config)
    assert (len(train), len(list(train))) == (3, 3)
    again = create_dataset(TrainingConfig(metadata_path=str(digits))).splits["val"]
    assert np.array_equal(next(iter(val))[0].squeeze(1).numpy(), again.images[: len(again)])


def test_composed_images_are_validated_on_instead_of_the_default_set_and_of_nobodys_own(
    digits, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    generate_dataset(Path(DEFAULT_METADATA_PATH).parent, sizes={"train": 1, "val": 2, "test": 1})
    options = {"composed": 40, "composed_val": 24}
    validated = []
    for seed in (0, 1):
        config = TrainingConfig(seed=seed, dataset_options=options)
        _, loader = create_dataset(config).loaders(config)
        validated.append(torch.cat([images for images, _ in loader]))
    assert len(validated[0]) == 24
    assert torch.equal(*validated)
    own = create_dataset(TrainingConfig(metadata_path=str(digits), dataset_options=options))
    assert own.validation is own.splits["val"]


def test_families_are_left_out_where_asked_for(digits):
    data = DatasetRegistry.create(
        "khmer_digits", path=digits, composed=10, leave_out=list(DEVELOPMENT_FAMILIES)
    )
    assert len(data.sheet) > 20
    assert not any(belongs_to(name, DEVELOPMENT_FAMILIES) for name in data.sheet.names)


def test_a_name_leaves_out_every_family_that_it_is_a_part_of_and_says_which(digits, caplog):
    data = DatasetRegistry.create("khmer_digits", path=digits, composed=10, leave_out=["muol"])
    with caplog.at_level(logging.INFO):
        names = set(data.sheet.names)
    assert "left out 2 of 52 faces: Khmer OS Muol, Khmer OS Muol Pali" in caplog.text
    assert "Moul Regular" in names and "Khmer OS Muol Regular" not in names


def test_a_family_that_is_not_there_is_reported_before_training(digits):
    left_out = ["Mondulkri", "Moul", "Hanuman", "ខ្មែរ", ""]
    data = DatasetRegistry.create("khmer_digits", path=digits, composed=10, leave_out=left_out)
    with pytest.raises(DataLoaderError, match="leave_out: unknown family 'Mondulkri'") as caught:
        data.prepare()
    first, second, third = str(caught.value).splitlines()
    assert first.endswith("did you mean 'Khmer Mondulkiri'?")
    assert "unknown family 'ខ្មែរ'" in second and "unknown family ''" in third


def test_leaving_out_every_family_is_reported_before_training(digits):
    data = DatasetRegistry.create(
        "khmer_digits", path=digits, composed=10, leave_out=["a", "e", "o"]
    )
    with pytest.raises(DataLoaderError, match="must leave at least one face to compose from, got"):
        data.prepare()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"composed": 5, "leave_out": "Moul"}, r"leave_out must be a list .*; write \[Moul\]"),
        ({"composed": 5, "leave_out": {"Moul": 1}}, "leave_out must be a list"),
        ({"composed": 5, "leave_out": ["Moul", 7]}, r"a list of names, .* got \['Moul', 7\]"),
        ({"composed": 5, "fonts_dirs": "fonts"}, r"fonts_dirs must be a list .*; write \[fonts\]"),
        ({"leave_out": ["Moul"]}, "leave_out must be a list of names, and must be empty if"),
        ({"fonts_dirs": ["fonts"]}, "fonts_dirs must be a list of names, and must be empty if"),
    ],
)
def test_families_and_folders_of_fonts_that_would_have_no_effect_are_reported(options, message):
    with pytest.raises(DataLoaderError, match=message):
        DatasetRegistry.create("khmer_digits", **options)


@pytest.mark.parametrize("options", [{"composed": -1}, {"composed": 5, "variety": 1.5}])
def test_options_out_of_range_are_reported(options):
    with pytest.raises(DataLoaderError, match="composed must be"):
        DatasetRegistry.create("khmer_digits", **options)


@pytest.mark.parametrize("options", [{"composed": 5, "composed_val": -1}, {"composed_val": 5}])
def test_composed_validation_goes_with_composed_training(options):
    with pytest.raises(DataLoaderError, match="composed_val must be"):
        DatasetRegistry.create("khmer_digits", **options)
