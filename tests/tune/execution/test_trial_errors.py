"""What is shown of a trial's error, and what is kept of it."""

import pytest

from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.training.checkpoints.run_folder import ERROR_LOG
from raytune_ocr.tune.execution.trial_errors import (
    LONGEST,
    LONGEST_LOGGED,
    as_shown,
    log_error,
    message_of,
    own_frames,
    shown,
    traceback_of,
)

OF_RAY = """
ray::ImplicitFunc.train() (pid=7, ip=127.0.0.1)
  File "/usr/lib/python3.11/site-packages/ray/tune/trainable/trainable.py", line 331, in train
    raise skipped from exception_cause(skipped)
  File "/home/me/model.py", line 12, in forward
    return self.narrow(images)
  File "/home/me/layers.py", line 3, in narrow
    raise ValueError("first line\\n  and more")
  File "/usr/lib/python3.11/site-packages/torch/nn/modules/module.py", line 9, in _call_impl
    return forward_call(*args, **kwargs)
ValueError: first line
  and more
"""


def test_the_message_is_all_that_follows_the_last_frame():
    assert message_of(OF_RAY) == "ValueError: first line\n  and more"
    assert message_of("one line\n\n") == "one line"
    assert message_of("") == ""


def test_frames_of_libraries_are_left_out():
    assert own_frames(OF_RAY) == [
        "/home/me/model.py:12 in forward: return self.narrow(images)",
        '/home/me/layers.py:3 in narrow: raise ValueError("first line\\n  and more")',
    ]


def test_a_huge_message_is_bounded_on_screen_and_in_the_log_which_say_what_is_cut(tmp_path):
    huge = "first" + "x" * 10_000_000 + "last"
    assert len(shown(huge)) < LONGEST + 100 and f"cut; {ERROR_LOG} has more" in shown(huge)
    log = log_error(tmp_path, huge).read_text()
    assert len(log) < LONGEST_LOGGED + 100 and "\n... (9,000,009 characters cut here) ...\n" in log
    assert log.startswith("first") and log.endswith("last\n\n")
    assert (
        log_error(tmp_path / "b", "y" * LONGEST_LOGGED).read_text() == "y" * LONGEST_LOGGED + "\n\n"
    )


def test_a_traceback_with_a_huge_message_keeps_the_frames_and_the_cause():
    def fail():
        try:
            raise KeyError("first " + "x" * 5_000_000)
        except KeyError as error:
            raise ValueError("second " + "y" * 5_000_000) from error

    with pytest.raises(ValueError, match="second") as raised:
        fail()
    text = traceback_of(raised.value)
    assert len(text) < LONGEST_LOGGED + 100 and "KeyError: 'first xx" in text
    assert "characters cut here" in text and text.endswith("yyy\n")


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "a\rb", "\ud800"])
def test_text_of_others_is_shown_without_terminal_escapes_and_as_utf8(text):
    assert "\x1b" not in shown(text) and "\r" not in shown(text) and "\x07" not in shown(text)
    shown(text).encode()


def test_an_error_that_cannot_be_written_is_raised_as_one_that_can():
    error = ValueError("fine")
    assert as_shown(error) is error
    output = as_shown(ValueError("\ud800"))
    assert isinstance(output, ExperimentFailedError) and str(output) == "ValueError: ?"


def test_a_traceback_holds_what_led_to_the_error():
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        whole = traceback_of(error)
    assert "KeyError: 'first'" in whole and "ValueError: second" in whole


def test_each_attempt_is_added_to_the_log_and_no_link_followed(tmp_path, caplog):
    log_error(tmp_path, "first")
    assert log_error(tmp_path, "second").read_text() == "first\n\nsecond\n\n"
    (tmp_path / "victim").touch()
    (tmp_path / ERROR_LOG).unlink()
    (tmp_path / ERROR_LOG).symlink_to(tmp_path / "victim")
    assert log_error(tmp_path, "third") is None
    assert (tmp_path / "victim").read_text() == "" and "cannot be written" in caplog.text
