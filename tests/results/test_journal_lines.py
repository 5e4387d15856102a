"""Lines of a journal: written and read back, damaged in every way, and those of version 0.1."""

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.decision import CONTINUE, DECISIONS, EXPLOIT, STOP, Decision
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.journal_lines import finite, read_line, write_line
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.replay import Replay

ROW = {"epoch": 1, "experiment_name": "a", "seconds": 1.5, "val_loss": 0.25, "val_cer": None}
RUNG = Decision("asha", "a", 1, CONTINUE, {"score": 0.5})
CLONE = Decision(
    "pbt", "a_g1", 1, EXPLOIT, {"parent": "a", "replaces": "b", "settings": {"weight_decay": 0.1}}
)
ENTRIES = [
    {"run": {"format": 2, "id": "x", "timestamp": "now", "results_file": "r.json"}},
    {
        "trial": "a",
        "status": "pending",
        "fingerprint": "f",
        "search": "",
        "sampled": {},
        "rows": [],
    },
    {"trial": "a", "status": "running", "rows": [ROW], "decisions": [asdict(RUNG)]},
    {"decisions": [asdict(CLONE), asdict(RUNG)]},
    {"test_split": {"trial": "a", "figures": {"test_char_accuracy": 0.5}}},
    {"known": {"source": "old.json"}},
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: next(iter(entry)))
def test_an_entry_is_read_as_it_was_written(entry):
    line = write_line(entry)
    assert line.endswith(b'"}\n') and line.count(b"\n") == 1
    assert read_line(line) == entry
    assert json.loads(line).keys() == entry.keys() | {"digest"}  # still a JSON object


def test_text_that_looks_like_a_digest_or_a_line_is_text():
    message = 'a,"digest":"0"}\n'
    entry = {"trial": "a", "status": "failed", "rows": [], "error_message": message}
    assert read_line(write_line(entry)) == entry


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: next(iter(entry)))
def test_a_flipped_bit_anywhere_in_a_line_is_noticed(entry):
    line = write_line(entry)
    for place in range(len(line) - 1):
        for bit in range(8):
            damaged = bytearray(line)
            damaged[place] ^= 1 << bit
            with pytest.raises(ValueError):
                read_line(bytes(damaged))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: next(iter(entry)))
def test_a_line_that_is_cut_off_anywhere_is_noticed(entry):
    line = write_line(entry)
    for end in range(len(line) - 1):
        with pytest.raises(ValueError):
            read_line(line[:end])


def test_what_is_not_finite_is_null():
    value = {"a": [math.nan, (math.inf, 1.0)], "b": {"c": -math.inf, "d": "nan"}}
    assert finite(value) == {"a": [None, [None, 1.0]], "b": {"c": None, "d": "nan"}}


@pytest.mark.parametrize(
    "entry",
    [
        [],
        {},
        {"trial": "a", "status": "running"},
        {"trial": 5, "status": "running", "rows": []},
        {"trial": "a", "status": "running", "rows": [{"epoch": 1}]},
        {"trial": "a", "status": "running", "rows": [{"epoch": "1", "seconds": 1.0}]},
        {"trial": "a", "status": "running", "rows": [], "used": {"threads": "2"}},
        {"trial": "a", "status": "running", "rows": [], "unknown": 1},
        {"run": {"timestamp": 5}},
        {"run": {}, "known": {}},
        {"decisions": {}},
        {"decisions": [{"scheduler": "asha", "trial": "a", "epoch": 1, "decision": STOP}]},
        {"decisions": [{**asdict(RUNG), "decision": "JUMP"}]},
        {"decisions": [{**asdict(RUNG), "decision": EXPLOIT}]},
        {"decisions": [{**asdict(RUNG), "later": 1}]},
        {"test_split": {"trial": "a"}},
        {"known": []},
    ],
    ids=str,
)
def test_a_whole_line_that_holds_something_else_is_no_entry(entry):
    with pytest.raises(ValueError):
        read_line(write_line(entry) if entry else json.dumps(entry).encode())


def test_a_line_that_is_nested_too_deeply_or_counts_too_far_is_no_entry():
    for line in (b"[" * 10**5, b'{"trial":' * 10**5, b'{"rung": {"epoch": 1%s}}' % (b"0" * 30)):
        with pytest.raises(ValueError):
            read_line(line)


# Format 1

CLONED = {"name": "a_g1", "parent": "a", "instead_of": "b", "settings": {"weight_decay": 0.1}}
OLD = [
    (
        {"rung": {"trial": "a", "epoch": 2, "score": 0.5, "stopped": False}},
        [Decision("asha", "a", 2, CONTINUE, {"score": 0.5})],
    ),
    (
        {"rung": {"trial": "a", "epoch": 2, "score": None, "stopped": True}},
        [Decision("asha", "a", 2, STOP, {"score": None})],
    ),
    ({"median": {"trial": "a", "epoch": 2}}, [Decision("median", "a", 2, STOP)]),
    (
        {"halving": {"epoch": 2, "ends": ["b", "c"], "left": 1}},
        [
            Decision("halving", "", 2, CONTINUE, {"left": 1}),
            Decision("halving", "b", 2, STOP, {"left": 1}),
            Decision("halving", "c", 2, STOP, {"left": 1}),
        ],
    ),
    (
        {"generation": {"epoch": 2, "heirs": [CLONED]}},
        [
            Decision("pbt", "", 2, CONTINUE),
            Decision(
                *("pbt", "a_g1", 2, EXPLOIT),
                {"parent": "a", "replaces": "b", "settings": {"weight_decay": 0.1}},
            ),
        ],
    ),
    ({"generation": {"epoch": 4, "heirs": []}}, [Decision("pbt", "", 4, CONTINUE)]),
]


@pytest.mark.parametrize(("entry", "decisions"), OLD, ids=lambda value: str(value)[:30])
def test_a_decision_of_format_1_is_read_as_one_of_now(entry, decisions):
    read = read_line(json.dumps(entry).encode() + b"\n")
    assert [Decision(**each) for each in read["decisions"]] == decisions
    assert read_line(write_line(read)) == read


def test_trials_and_facts_of_format_1_are_read_as_they_were():
    trial = {"trial": "a", "status": "running", "rows": [ROW], "used": {"threads": 1}}
    assert read_line(json.dumps(trial).encode()) == trial
    about = {"run": {"timestamp": "now", "results_file": "r.json", "scheduler": "asha"}}
    assert read_line(json.dumps(about).encode()) == about
    figures = {"trial": "a", "figures": {"test_images": 8}}
    assert read_line(json.dumps({"held_out": figures}).encode()) == {"test_split": figures}


@pytest.mark.parametrize(
    "entry",
    [
        {"rung": {"trial": "a", "epoch": 2, "score": 0.5}},
        {"rung": {"trial": 5, "epoch": 2, "score": 0.5, "stopped": False}},
        {"median": []},
        {"halving": {"epoch": 2, "ends": "ab", "left": 1}},
        {"halving": {"epoch": 2, "ends": [5], "left": 1}},
        {"halving": {"epoch": 2, "ends": [], "left": None}},
        {"generation": {"epoch": 2, "heirs": [{"name": "a_g1"}]}},
        {"generation": {"epoch": 2, "heirs": {}}},
        {"held_out": {"trial": "a"}},
    ],
    ids=str,
)
def test_a_damaged_line_of_format_1_is_noticed(entry):
    with pytest.raises(ValueError):
        read_line(json.dumps(entry).encode())


# Anything

LINES = [write_line(entry) for entry in ENTRIES]
LINES += [json.dumps(entry).encode() + b"\n" for entry, _ in OLD]


@st.composite
def mutated(draw):
    """A valid journal with lines swapped, repeated or left out, and bytes changed."""
    lines = draw(st.lists(st.sampled_from(LINES), max_size=7))
    content = bytearray(b"".join(draw(st.sampled_from(([LINES[0]], []))) + lines))
    for _ in range(draw(st.integers(0, 3)) if content else 0):
        start = draw(st.integers(0, len(content) - 1))
        end = draw(st.sampled_from((start, start + 1, start + 9)))
        content[start:end] = draw(st.binary(max_size=3) | st.sampled_from((b"null", b"[", b"\n")))
        if not content:
            break
    return bytes(content)


@given(content=mutated())
def test_a_mutated_journal_is_read_or_refused_with_an_error_of_our_own(tmp_path_factory, content):
    journal = Journal(tmp_path_factory.getbasetemp())
    journal.path.write_bytes(content)
    replay = journal.read()
    assert isinstance(replay, Replay)
    assert all(isinstance(trial.epochs, list) for trial in replay.trials.values())
    assert {decision.decision for decision in replay.decisions} <= set(DECISIONS)
    try:
        about = journal.load({"a": TrialRecord(TrainingConfig(experiment_name="a"))})
    except ConfigurationError as error:
        assert str(journal.path.parent) in str(error)
    else:
        assert {"timestamp", "results_file"} <= set(about)
