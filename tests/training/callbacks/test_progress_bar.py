import os
import signal

import pytest

from raytune_ocr.training.callbacks.progress_bar import InterruptAfterBatch, ProgressBar
from tests.fixtures.trainers import loader, trainer


def test_without_a_terminal_there_is_a_line_for_each_epoch(capsys):
    trainer().train(loader(32), 2, callbacks=[ProgressBar(2, 2)])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[:2] for line in lines] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert all("train_loss" in line and "it/s" in line for line in lines)


def test_ctrl_c_ends_training_after_the_batch_and_the_handler_before_is_back():
    before, steps = signal.getsignal(signal.SIGINT), []

    class Interrupts(InterruptAfterBatch):
        def on_step_end(self, trainer, step, figures):
            steps.append(step)
            if step == 1:
                os.kill(os.getpid(), signal.SIGINT)
            super().on_step_end(trainer, step, figures)

    with pytest.raises(KeyboardInterrupt):
        trainer().train(loader(64), 2, callbacks=[Interrupts()])
    assert steps == [0, 1]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_does_not_wait_for_the_batch():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    callback = InterruptAfterBatch()
    callback.on_train_begin(None)
    try:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        callback.on_train_end(None)
        signal.signal(signal.SIGINT, before)
