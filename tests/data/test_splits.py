"""Which split an image is in."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raytune_ocr.data.splits import (
    by_hash,
    is_split_header,
    looks_like_a_split,
    split_of,
    splits_by_name,
)


def split(keys, classes=lambda key: [], **options):
    return by_hash(list(keys), lambda key: key, classes, **options)[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" Train ", "train"),
        ("TRAINING", "train"),
        ("training_set", "train"),
        ("Validation", "val"),
        ("val-images", "val"),
        ("dev", "val"),
        ("eval", "val"),
        ("Test Set", "test"),
        ("testing", "test"),
        ("hold-out", "test"),
        ("cats", None),
        ("set", None),
        ("", None),
    ],
)
def test_a_split_is_known_by_any_usual_word(text, name):
    assert split_of(text) == name


@pytest.mark.parametrize("text", ["val2", "vaildation", "train (old)", "is_test", "my test images"])
def test_what_looks_like_a_split_is_seen(text):
    assert looks_like_a_split(text)


@pytest.mark.parametrize("text", ["cats", "font", "writer", "contest", "trainer", "text", "0"])
def test_other_words_do_not_look_like_a_split(text):
    assert not looks_like_a_split(text)


def test_headers_of_splits_are_known_but_for_spaces_and_capitals():
    headers = (" split", "Split", "subset", "data_split", "Split?")
    assert all(map(is_split_header, headers))
    assert not any(map(is_split_header, ("file", "label", "font", "writer")))


def test_a_second_word_for_a_split_is_a_split_of_its_own_beside_the_plain_one():
    assert splits_by_name(["train", "Valid", "val"]) == {
        "train": "train",
        "Valid": "val",
        "val": "val",
    }
    assert splits_by_name(["val", "dev"]) == {"val": "val", "dev": "dev"}
    assert splits_by_name(["dev", "fold 1"]) == {"dev": "val", "fold 1": "fold 1"}


def test_about_eight_ninths_and_a_tenth_go_where_they_should():
    found = split(f"{number}.png" for number in range(2000))
    assert [len(found[name]) for name in ("train", "val", "test")] == pytest.approx(
        [1600, 200, 200], abs=60
    )


@given(st.sets(st.text(min_size=1), min_size=40), st.sets(st.text(min_size=1)))
def test_an_image_stays_in_its_split_when_others_are_added(some, more):
    before, found = by_hash(sorted(some), lambda key: key, lambda key: [])
    after, _ = by_hash(sorted(some | more), lambda key: key, lambda key: [])
    assume(not found)  # no split was filled with what is another's
    assert all({*keys} <= {*after[name]} for name, keys in before.items())


def test_one_key_is_in_one_split():
    found = split([f"{number % 40}.png" for number in range(400)])
    sets = [set(keys) for keys in found.values()]
    assert sum(map(len, sets)) == 40


def test_the_form_of_unicode_does_not_decide_the_split():
    names = [f"é{number}.png" for number in range(100)]
    decomposed = [name.replace("é", "é") for name in names]
    assert [len(keys) for keys in split(names).values()] == [
        len(keys) for keys in split(decomposed).values()
    ]


@given(st.lists(st.sampled_from("abcdefghij"), min_size=3, max_size=40))
def test_training_knows_every_class_and_no_image_is_lost(labels):
    items = [f"{label}/{number}" for number, label in enumerate(labels)]
    found, _ = by_hash(items, lambda item: item, lambda item: item[0])
    assert {item[0] for item in found["train"]} == {*labels}
    assert sorted(item for part in found.values() for item in part) == sorted(items)


def test_an_image_that_is_not_where_its_hash_puts_it_is_reported():
    found, shown = by_hash(["only.png"], lambda key: key, lambda key: ["cat"], {"a": 0.0, "b": 1.0})
    assert found == {"a": ["only.png"], "b": []}
    assert shown == ["only.png is in a, which had no image of cat"]


def test_no_split_of_a_few_images_is_empty():
    for number in range(3, 30):
        assert all(split(f"{n}.png" for n in range(number)).values())
