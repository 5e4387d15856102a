"""The command line of orders; the run that gets them is stood in for by its inbox."""

import threading

import pytest

from raytune_ocr.results.journal import Journal
from raytune_ocr.results.steering.inbox import Inbox
from raytune_ocr.results.steering.orders import Answer, orders_of
from raytune_ocr.results.steering.run_lock import RunLock
from raytune_ocr.steer import EXAMPLES, build_parser, main, order_of


@pytest.fixture
def run(tmp_path):
    journal = Journal(tmp_path / "out")
    journal.rewrite({}, {"timestamp": "t", "results_file": "r.json"})
    journal.close()
    return tmp_path / "out"


def order(*words):
    return order_of(build_parser().parse_args(["out", *words]))


@pytest.mark.parametrize(
    ("words", "trial", "arguments"),
    [
        (["stop", "fast"], "fast", {}),
        (["stop", "--run"], None, {}),
        (["extend", "fast", "--epochs", "80"], "fast", {"epochs": 80}),
        (["priority", "fast", "-5"], "fast", {"priority": -5}),
        (["budget", "--cost", "2.5"], None, {"cost": 2.5}),
        (["tag", "x", "--trial", "fast", "--remove"], "fast", {"tag": "x", "remove": True}),
        (
            ["clone", "fast", "--set", "optimizer.type=adamw", "--set", "parameters.width=3"],
            "fast",
            {"set": {"optimizer_type": "adamw", "parameters.width": 3}},
        ),
    ],
)
def test_words_become_an_order(words, trial, arguments):
    made = order(*words)
    assert (made.action, made.trial, made.arguments) == (words[0], trial, arguments)


@pytest.mark.parametrize(
    "text", ["training: {batch_size: 8}", "experiments: {slow: {training: {batch_size: 8}}}"]
)
def test_a_preset_is_read_from_its_file(text, tmp_path):
    (tmp_path / "preset.yaml").write_text(text)
    made = order("add", "slow", "--preset", str(tmp_path / "preset.yaml"), "--set", "seed=3")
    assert made.arguments == {"preset": {"training": {"batch_size": 8}}, "set": {"seed": 3}}


def test_every_example_of_the_help_is_an_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slower.yaml").write_text("training: {batch_size: 8}")
    import shlex

    lines = [shlex.split(line)[4:] for line in EXAMPLES.splitlines() if "steer" in line]
    assert {order(*words).action for words in lines} >= {"stop", "add", "clone", "budget"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["stop"], "name a trial, or --run"),
        (["stop", "fast", "--run"], "name a trial, or --run"),
        (["stop", "fast"], "refused: no process runs it"),
        (["clone", "fast", "--set", "learning_rat=1"], "unknown setting 'learning_rat'"),
        (["extend", "fast", "--epochs", "0"], "must be an integer >= 1"),
        (["tag", "x", "--trial", "nobody"], "there is no trial nobody"),
    ],
)
def test_a_refused_order_ends_with_2_and_the_reason(run, words, why, capsys):
    assert main([str(run), *words]) == 2
    assert why in capsys.readouterr().err


def test_a_folder_without_a_run_is_an_error(tmp_path, capsys):
    assert main([str(tmp_path), "stop", "--run"]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_a_note_is_written_and_an_order_can_wait(run, capsys):
    assert main([str(run), "note", "too slow"]) == 0
    assert main([str(run), "--queue", "extend", "fast", "--epochs", "9"]) == 0
    assert "queued for its next --resume" in capsys.readouterr().out
    assert [o.arguments for o in orders_of(Journal(run).read().decisions)] == [{"text": "too slow"}]
    assert [o.action for o in Inbox(run).take()] == ["extend"]


def test_an_accepted_order_ends_with_0_and_what_happens(run, capsys):
    def answer_one():
        inbox = Inbox(run)
        while not (taken := list(inbox.take())):
            pass
        inbox.answer(taken[0].id, Answer(True, "paused after epoch 3"))

    with RunLock(run):
        driver = threading.Thread(target=answer_one)
        driver.start()
        assert main([str(run), "--timeout", "60", "pause", "fast"]) == 0
        driver.join()
    assert capsys.readouterr().out == "pause fast: paused after epoch 3\n"
