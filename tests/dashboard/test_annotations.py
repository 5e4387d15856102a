from raytune_ocr.dashboard.annotations import Annotations
from raytune_ocr.results.decision import ORDER, Decision
from raytune_ocr.results.steering.orders import entry_of, new_order


def annotated(*orders):
    made = Annotations()
    for order in orders:
        made.note(entry_of(order))
    return made


def test_notes_and_tags_are_those_of_their_trial():
    made = annotated(
        new_order("note", "one", text="odd"),
        new_order("note", "one", text="very"),
        new_order("tag", "one", tag="keep"),
        new_order("tag", "one", tag="old"),
        new_order("tag", "one", tag="old", remove=True),
        new_order("tag", tag="final"),
    )
    assert made.notes_of("one") == "odd; very" and made.tags_of("one") == "keep"
    assert made.tags_of("") == "final" and made.notes_of("two") == ""


def test_orders_are_listed_with_who_and_when_the_newest_first():
    first, second = annotated(
        new_order("stop", "one", who="ann"), new_order("pause", "two", who="bob")
    ).listed()
    assert (first["who"], first["order"]) == ("bob", "pause two")
    assert second["order"] == "stop one" and second["when"].startswith("20")


def test_an_order_that_cannot_be_read_is_skipped():
    made = Annotations()
    made.note(Decision("user", "one", 0, ORDER, {"action": "explode"}))
    assert made.listed() == []
