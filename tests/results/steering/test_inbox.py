"""Order files between two processes: nothing is lost, nothing foreign is read or written."""

import dataclasses
import json
import os
import stat
import threading

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import STATE_FILE, Journal
from raytune_ocr.results.steering.inbox import INBOX, MOST_BYTES, Inbox, send_order
from raytune_ocr.results.steering.orders import Answer, Order, new_order, orders_of
from raytune_ocr.results.steering.run_lock import RunLock


@pytest.fixture
def run(tmp_path):
    """The folder of a run that no process runs."""
    journal = Journal(tmp_path)
    journal.rewrite({}, {"timestamp": "t", "results_file": "r.json"})
    journal.close()
    return tmp_path


def put(run, name, content):
    (run / INBOX).mkdir(mode=0o700, exist_ok=True)
    (run / INBOX / name).write_bytes(content)


def test_an_order_reaches_the_process_and_its_answer_comes_back(run):
    inbox, orders = Inbox(run), [new_order("stop", name) for name in "abc"]
    for order in orders:
        inbox.send(order)
    for order in inbox.take():
        inbox.answer(order.id, Answer(order.trial != "b", f"got {order.trial}"))
    answers = [inbox.answer_to(order) for order in orders]
    assert answers == [Answer(True, "got a"), Answer(False, "got b"), Answer(True, "got c")]
    assert inbox.answer_to(orders[0]) is None and list(inbox.take()) == []
    assert not list((run / INBOX).iterdir())


def test_only_the_user_can_read_an_order(run):
    Inbox(run).send(new_order("stop", "a"))
    (file,) = (run / INBOX).iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((run / INBOX).stat().st_mode) == 0o700


def test_an_order_that_a_killed_driver_took_is_taken_again(run):
    order = new_order("stop", "a")
    Inbox(run).send(order)
    assert next(iter(Inbox(run).take())) == order  # and then it was killed
    assert list(Inbox(run).take()) == [order]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "must be JSON"),
        (b"[" * 20_000, "must be JSON"),
        (b"NaN", "must be JSON"),
        (b"9" * 5000, "must be JSON"),
        (b" " * (MOST_BYTES + 1), "at most"),
        (b"{}", "unknown action"),
        (json.dumps(dataclasses.asdict(new_order("stop", "a"))).encode(), "the name of its file"),
    ],
)
def test_a_bad_file_is_answered_with_what_is_wrong(run, content, why):
    put(run, "0123456789abcdef.json", content)
    ((order_id, found),) = Inbox(run).take()
    assert order_id == "0123456789abcdef" and why in found


def test_links_and_pipes_are_not_read(run, tmp_path_factory):
    secret = tmp_path_factory.mktemp("home") / "secret"
    secret.write_text(json.dumps(dataclasses.asdict(new_order("stop", "a"))))
    put(run, "notes.txt", b"of the user")
    (run / INBOX / "0123456789abcdef.json").symlink_to(secret)
    os.mkfifo(run / INBOX / "0123456789abcde0.json")
    answers = dict(Inbox(run).take())
    assert sorted(answers) == ["0123456789abcde0", "0123456789abcdef"]
    assert "must be a file" in answers["0123456789abcde0"]  # of the pipe
    assert "symbolic links" in answers["0123456789abcdef"]
    assert secret.exists() and (run / INBOX / "notes.txt").exists()


def test_an_inbox_that_is_a_link_is_refused(run, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (run / INBOX).symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="cannot leave an order"):
        Inbox(run).send(new_order("stop", "a"))
    assert list(elsewhere.iterdir()) == []


def test_orders_of_another_user_are_not_carried_out(run, monkeypatch):
    Inbox(run).send(new_order("stop", "a"))
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(PermissionError, match="another user"):
        list(Inbox(run).take())


def test_a_new_run_starts_without_the_orders_to_an_older_one(run):
    Inbox(run).send(new_order("stop", "a"))
    Inbox(run).answer("0123456789abcdef", Answer(True))
    (run / INBOX / ".0123456789abcdef.tmp").write_text("of a sender that was killed")
    Inbox(run).clear()
    assert not (run / INBOX).exists()


def test_a_running_run_answers_an_order(run):
    def answer_one():
        inbox = Inbox(run)
        while not (taken := list(inbox.take())):
            pass
        inbox.answer(taken[0].id, Answer(False, "it has finished"))

    with RunLock(run):
        driver = threading.Thread(target=answer_one)
        driver.start()
        answer = send_order(run, new_order("stop", "a"), timeout=30)
        driver.join()
    assert answer == Answer(False, "it has finished")


def test_an_order_without_an_answer_is_withdrawn(run):
    with RunLock(run):
        answer = send_order(run, new_order("stop", "a"), timeout=0.01)
    assert not answer.accepted and "withdrawn" in answer.reason
    assert list(Inbox(run).take()) == []


def test_without_a_process_notes_go_to_the_journal_and_other_orders_are_refused(run):
    refused = send_order(run, new_order("stop"))
    assert not refused.accepted and "no process runs it" in refused.reason
    note = new_order("note", text="too slow")
    with (run / STATE_FILE).open("ab") as journal:
        journal.write(b'{"cut off by a cra')
    assert send_order(run, note) == Answer(True, "written to the journal")
    replay = Journal(run).read()
    assert orders_of(replay.decisions) == [note] and list(replay.damaged) == [2]
    unknown = send_order(run, new_order("tag", "nobody", tag="x"))
    assert unknown == Answer(False, "there is no trial nobody")
    assert not (run / "run.lock").exists()


def test_an_order_can_wait_for_the_next_resume(run):
    order = new_order("extend", "a", epochs=9)
    assert send_order(run, order, queue=True).accepted
    assert list(Inbox(run).take()) == [order]


def test_a_folder_without_a_run_takes_no_order(tmp_path):
    with pytest.raises(ConfigurationError, match="holds no run"):
        send_order(tmp_path, Order("stop"))


def test_numbers_that_are_not_finite_are_refused_where_the_order_is_given(run):
    with RunLock(run), pytest.raises(ConfigurationError, match="clone: numbers must be finite"):
        send_order(run, new_order("clone", "fast", set={"lr": float("nan")}), timeout=0.1)


def test_the_end_of_a_run_cannot_be_queued(run):
    assert not send_order(run, new_order("stop"), queue=True).accepted
