import pytest

from raytune_ocr.data import load_split, load_splits
from tests.fixtures.labelled import message, picture


def test_the_original_generators_file_loads(tmp_path, monkeypatch):
    """Inline samples, tuples, and paths relative to the working folder or to the file."""
    data = tmp_path / "generated_data"
    picture(data / "images" / "a.png", size=(130, 60), mode="RGB")
    picture(data / "images" / "b.png", size=(100, 64))
    (data / "metadata.yaml").write_text(
        "dataset_info:\n  image_size: !!python/tuple [128, 64]\n"
        "train:\n  num_samples: 1\n  samples:\n"
        "  - {image_path: generated_data/images/a.png, label: ០១២, font: x,"
        " size: !!python/tuple [1, 2]}\n"
        "val:\n  samples:\n  - {image_path: images/b.png, label: '៣'}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    splits = load_splits(data / "metadata.yaml")
    assert (splits["train"].texts, splits["val"].texts) == (["០១២"], ["៣"])


@pytest.mark.parametrize(
    "text", ["a: [\n", "- 1\n", "train: 3\n", "train: {samples: 3}\n", "train: {samples: [3]}\n"]
)
def test_metadata_that_breaks_a_rule_is_reported(tmp_path, text):
    path = tmp_path / "metadata.yaml"
    path.write_text(text)
    assert str(path) in message(path)


def test_metadata_is_never_unpickled(tmp_path):
    path = tmp_path / "metadata.yaml"
    path.write_text("train: !!python/object/apply:os.getcwd []\n")
    assert "not valid YAML" in message(path)


def test_zeros_in_front_of_a_label_stay(tmp_path):
    picture(tmp_path / "a.png")
    samples = "train:\n  samples:\n  - {image_path: a.png, label: 012}\n"
    (tmp_path / "metadata.yaml").write_text(samples, encoding="utf-8")
    assert load_split(tmp_path).texts == ["០១២"]
