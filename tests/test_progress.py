import pytest

from raytune_ocr.progress import clock, progress


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "00:00"),
        (59.9, "00:59"),
        (61, "01:01"),
        (3599, "59:59"),
        (3600, "01:00:00"),
        (90000, "25:00:00"),
    ],
)
def test_a_duration_has_hours_only_from_an_hour_on(seconds, text):
    assert clock(seconds) == text


def test_without_a_terminal_items_go_by_and_nothing_is_printed(capsys):
    assert list(progress(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")
