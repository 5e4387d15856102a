import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.inference.calibration import Calibration
from raytune_ocr.inference.model_card import Data, Validation, classifier_card, families, model_card

FILES = {
    "model.onnx": {
        "bytes": 2_000_000,
        "ms_one_image": 1.5,
        "images_per_second": 900.0,
        "largest_difference": 1e-5,
    },
    "images_checked": 40,
}
READ = Validation(
    (90, 100, 380, 400),
    {1: (30, 30), 8: (60, 70)},
    [("១->៧", 4)],
    (0.99, 0.5),
    Calibration(0.5, -0.1),
    (0.08, 0.01),
)
DATA = Data("data/set", {"train": 800, "val": 100}, {"generator": "raytune_ocr", "faces": ["Moul"]})
BEST = {
    "experiment_name": "one",
    "best_epoch": 3,
    "total_epochs": 4,
    "best_val_seq_accuracy": 0.9,
    "test_seq_accuracy": 0.85,
    "test_seq_accuracy_interval": [0.8, 0.9],
    "test_images": 200,
}


def card(config=None, document=None, data=DATA, **changes):
    validation = Validation(**{**vars(READ), **changes})
    return model_card(
        config or TrainingConfig(), data, validation, FILES, document or {}, "ctc", 32
    )


def test_figures_have_their_intervals_and_their_numbers():
    text = card()
    assert "| val | strings | 0.9000 | 0.8256 to 0.9448 | 100 |" in text
    assert "| val | digits | 0.9500 |" in text
    assert "| model.onnx | 2.00 | 1.5 | 900 | 1e-05 |" in text
    assert "no test split was evaluated" in text and "no search was recorded" in text


def test_the_precision_of_the_figures_is_said_where_it_may_not_be_the_runs():
    assert "Evaluated in float32, as in the run." in card(TrainingConfig(mixed_precision=False))
    assert "set to mixed precision" in card(TrainingConfig(mixed_precision=True))


def test_limits_tell_what_is_misread_and_what_was_not_measured():
    text = card()
    assert "10 of 100 strings of the validation split were misread" in text
    assert "accuracy is lowest for 8 digits: 60 of 70 correct" in text
    assert "Most frequent confusions: 1 as 7 (4)" in text
    assert "0.99 where it is right and 0.50 where it is wrong" in text
    assert "1 faces in 1 families: Moul" in text
    bare = card(data=Data("set", {"val": 100}, {}), confusions=[], confidence=(0.9, None))
    assert "does not name its fonts" in bare
    assert "confusions" not in bare and "where it is wrong" not in bare


@pytest.mark.parametrize(("test", "words"), [(0.85, "0.0500 lower than"), (0.9, "equal to")])
def test_a_run_adds_its_protocol_and_the_gap_to_the_test_split(test, words):
    document = {
        "all_results": [{}, {}, {}],
        "experiments_completed": 2,
        "best_result": {**BEST, "test_seq_accuracy": test},
    }
    text = card(document=document)
    assert "The best of 3 trials (2 completed)" in text and "epoch 3 of 4" in text
    assert "| test | strings |" in text
    assert f"accuracy on the test split is {words} that on validation" in text


def test_a_confirmed_winner_tells_its_seeds():
    candidate = {"experiment_name": "one", "mean": 0.93, "std": 0.01, "scores": [0.92, 0.94]}
    document = {
        "all_results": [{}],
        "experiments_completed": 1,
        "best_result": BEST,
        "confirmation": {"metric": "val_f1", "verdict": "It holds.", "candidates": [candidate]},
    }
    output = "with 2 fresh seeds: mean `val_f1` 0.9300, standard deviation 0.0100. It holds."
    assert output in card(document=document)


def test_the_card_of_a_classifier_names_its_classes():
    config = TrainingConfig(class_names=["cat", "dog"], image_shape=[1, 8, 8])
    text = classifier_card(config, DATA, 75, FILES)
    assert "a classifier of images into 2 classes" in text
    assert "| val | images | 0.7500 |" in text and "cat, dog" in text


def test_families_are_reported_without_styles_unless_nothing_is_left():
    faces = ["Noto Sans Khmer ExtraBold Italic", "Noto Sans Khmer", "Black", "Moul Regular"]
    assert families(faces) == ["Black", "Moul", "Noto Sans Khmer"]
