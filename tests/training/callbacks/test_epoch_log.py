from pathlib import Path

import pytest

from tests.fixtures.trainers import experiment


def test_the_log_is_read_back_and_a_torn_line_left_out(tmp_path):
    trainer = experiment(tmp_path)
    trainer.train(3)
    log = Path(trainer.experiment_manager.log_file)
    log.write_text(log.read_text() + "epoch 4/4 train_loss=0.1 val_lo")
    fresh = experiment(tmp_path, resume="exp1")
    assert fresh.load_history_from_log() == 3
    assert fresh.history["val_loss"] == pytest.approx(trainer.history["val_loss"], rel=1e-5)


def test_the_curves_are_a_picture(tmp_path):
    from PIL import Image

    trainer = experiment(tmp_path)
    trainer.train(2)
    with Image.open(trainer.experiment_manager.plot_file) as picture:
        assert picture.format == "PNG"
        assert picture.width > 500
