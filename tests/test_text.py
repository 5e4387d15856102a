"""Text of others, shown without doing anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_ocr.text import printable, spreadsheet_cell


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text):
    shown = printable(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    assert "\u202e" not in shown
    shown.encode("utf-8")
    assert printable(shown) == shown


def test_khmer_stays_and_what_an_encoding_lacks_is_escaped():
    assert printable("លទ្ធផល ០១២") == "លទ្ធផល ០១២"
    assert printable("a១", "ascii") == r"a\u17e1"
    assert printable("scan\udce9\x1b[2J") == r"scan\xe9\x1b[2J"


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "--"])
def test_what_a_spreadsheet_would_compute_is_quoted(text):
    assert spreadsheet_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "-1.5e3", "+2", "scan-1.png", "a=b", "", "៣៧១២"])
def test_numbers_and_other_text_stay(text):
    assert spreadsheet_cell(text) == text
