import pytest

from raytune_ocr.vocabulary import DIGITS, EOS_TOKEN_ID, PAD_TOKEN_ID, decode, encode


@pytest.mark.parametrize("text", ["០", DIGITS[:8], "៩៩៩៩៩៩៩៩"])
def test_what_is_encoded_is_decoded_again(text):
    assert decode(encode(text)) == text


def test_targets_are_filled_with_eos():
    assert encode("១២") == [1, 2] + [EOS_TOKEN_ID] * 7


def test_ascii_digits_are_the_same_digits():
    assert encode("0123") == encode("០១២៣")


def test_decoding_ends_at_padding():
    assert decode([1, PAD_TOKEN_ID, 2]) == "១"


@pytest.mark.parametrize(
    ("text", "message"), [("", "at least one"), ("1" * 9, "at most 8"), ("12a", "'a'")]
)
def test_a_bad_label_is_refused_with_its_rule(text, message):
    with pytest.raises(ValueError, match=message):
        encode(text)
