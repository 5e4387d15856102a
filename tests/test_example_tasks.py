"""The worked examples of training functions, each on its real data."""

import pytest

from raytune_ocr.tune import load_space
from tests.fixtures.own_tasks import FOLDER, example, train, train_with_a_break, without_cost

SMALL = {
    "language_model": ({"learning_rate": 0.01, "width": 32}, {"characters": 8000}),
    "segmentation": ({"learning_rate": 0.02, "width": 8}, {"images": 64}),
    "cross_validation": ({"c": 1.0, "gamma": 1e-3}, {}),
}


@pytest.mark.parametrize("name", SMALL)
def test_an_example_gets_better_and_is_resumed_to_the_bit(name, tmp_path):
    module = example(name)
    parameters, sizes = SMALL[name]
    data = module.prepare(**sizes)
    whole = train(module, parameters, 4, data)
    parts = train_with_a_break(module, parameters, 4, tmp_path, data)
    assert without_cost(parts.rows) == without_cost(whole.rows)
    history = whole.history
    if name == "cross_validation":
        assert history["cv_accuracy"][-1] > 0.95
    elif name == "segmentation":
        assert history["val_iou"][-1] > 0.25
    else:
        assert history["val_perplexity"][-1] < history["val_perplexity"][0] < 128


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_file_of_an_example_names_its_function_and_its_metric(file, monkeypatch):
    monkeypatch.chdir(FOLDER)
    space = load_space(file)
    (config,) = {each.trainable for each in space.configs.values()}
    assert config == f"{file.stem}:train"
    assert all(file.with_suffix(".py").is_file() for _ in space.configs)
