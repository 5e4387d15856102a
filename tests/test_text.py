"""Text of others, shown without doing anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_ocr.text import masked, printable, spreadsheet_cell


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


@pytest.mark.parametrize(
    "text, shown",
    [
        ("s3://id:secret@bucket/run", "s3://id:***@bucket/run"),
        (
            "s3://b/r?scheme=http&access_key=a&SECRET_KEY=b c",
            "s3://b/r?scheme=http&access_key=***&SECRET_KEY=*** c",
        ),
        ("abfs://c@account/run?sig=x%2F", "abfs://c@account/run?sig=***"),
        ("http://localhost:8080/a@b", "http://localhost:8080/a@b"),
        ("s3://bucket/run, a: b@c", "s3://bucket/run, a: b@c"),
    ],
)
def test_secrets_of_a_uri_are_masked_and_nothing_else(text, shown):
    assert masked(text) == shown
