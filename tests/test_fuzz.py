"""Valid documents of others, changed anywhere: every reader ends in its value or our own error.

Through the entry points that people use. `FUZZ_DOCUMENTS=10000 pytest tests/test_fuzz.py` looks
for more.
"""

import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from raytune_ocr.data import load_split
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.results import analysis
from raytune_ocr.results.document import read_document
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.journal_lines import write_line
from raytune_ocr.tune import HyperparameterTuner, load_results
from raytune_ocr.tune.chosen_options import chosen_options
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.search.refine import refine
from raytune_ocr.tune.search.warm_start import KnownPoints, read_known
from raytune_ocr.tune.selection.reproduce import find_result, recorded_epochs
from raytune_ocr.tune.space.search_space import load_space, read_space
from raytune_ocr.tune.storage.mirror import RunCopy
from tests.fixtures.mutations import DOCUMENTS, changed_bytes, changed_value, rng_of

ROOT = Path(__file__).parents[1]
OLD_RUNS = sorted(ROOT.glob("tests/fixtures/old_runs/v0_1/*/run"))
SPACES = sorted(ROOT.glob("search_spaces/*.yaml"))


def given(name, documents, change, number=DOCUMENTS):
    """That many changed documents, each from one of these in turn."""
    for one, document in zip(range(number), itertools.cycle(documents), strict=False):
        rng = rng_of(name, one)
        yield rng, change(rng, document)


def reads(read, *arguments):
    """Call a reader; only our own errors are raised, and each says something."""
    try:
        read(*arguments)
    except RaytuneOCRError as error:
        assert str(error).strip()


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Thousands of warnings are not kept."""
    caplog.set_level("CRITICAL")


# YAML


def spaces():
    return [path.read_bytes() for path in SPACES if path.exists()]


def test_presets(tmp_path):
    path = tmp_path / "space.yaml"

    def read():
        tuner = HyperparameterTuner(str(path), output_dir=tmp_path / "out")
        for experiment in tuner.space().experiments.values():
            experiment.point({}, 1)

    half = DOCUMENTS // 2
    for _, content in given("yaml bytes", spaces(), changed_bytes, half):
        path.write_bytes(content)
        reads(read)
    values = [yaml.safe_load(content) for content in spaces()]
    for _, value in given("yaml values", values, changed_value, half):
        path.write_text(yaml.dump(value), encoding="utf-8", errors="surrogatepass")
        reads(read)
    assert not (tmp_path / "out").exists()


def test_metadata_of_images(tmp_path):
    path = tmp_path / "metadata.yaml"
    sample = {"image_path": "a.png", "label": "12"}
    document = {
        "dataset_info": {"image_size": [128, 64], "font": "x"},
        "train": {"samples": [sample, {**sample, "image_path": "b/c.png"}]},
        "val": {"table": "val.csv"},
    }
    (tmp_path / "val.csv").write_text("file,label\na.png,1\n")
    for rng, value in given("metadata", [document], changed_value, DOCUMENTS // 2):
        content = yaml.dump(value).encode("utf-8", "surrogatepass")
        path.write_bytes(changed_bytes(rng, content) if rng.random() < 0.3 else content)
        for split in ("train", "val"):
            reads(load_split, path, split)


# The journal


def journal_lines(path):
    """Its entries, without their digests, so that changed ones can be given new ones."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def space_of(folder):
    """The presets that an old run was of."""
    return load_space(folder.parent / "space.yaml")


def taken_up(folder, space):
    """Resume by the run's own scheduler, to the moment when trials would start."""
    about = Journal(folder).read().about
    options = chosen_options({"resume": True}, earlier=about)
    run = Run(
        folder, TuneOptions(scheduler=options.scheduler, grace_period=1), RunCopy(None, folder)
    )
    run.start(space, KnownPoints(), resuming=True)
    run.save_state()
    run.next_trial()
    run.save_results()
    run.journal.close()


@pytest.mark.parametrize("old", OLD_RUNS, ids=lambda path: path.parent.name)
def test_the_journal(old, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    space, entries = space_of(old), journal_lines(old / "run_state.jsonl")
    plain = b"".join(map(write_line, entries))
    assert set(SCHEDULERS.names()) >= {old.parent.name}

    def change(rng, lines):
        if rng.random() < 0.4:
            return changed_bytes(rng, plain)
        changed = changed_value(rng, lines)
        changed = changed if isinstance(changed, list) else [changed]
        lines = [line if isinstance(line, dict) and line else {"": line} for line in changed]
        return b"".join(map(_line, lines))

    for _, content in given(f"journal {old.parent.name}", [entries], change, DOCUMENTS // 3):
        Journal(folder).path.write_bytes(content)
        reads(taken_up, folder, space)
    assert {path.name for path in tmp_path.iterdir()} <= {"run"} | {
        path.name for path in tmp_path.glob("*.json")
    }


def _line(entry):
    try:
        return write_line(entry)
    except (TypeError, ValueError):  # no JSON: lone surrogates, huge numbers
        return b'{"broken": \n'


# The results JSON and the tables beside it


def analyze(path):
    """All that `analyze`, `predict`, `--warm-start`, `--refine` and `--reproduce` ask of it."""
    reads(lambda: analysis.ranked(load_results(path)))
    for ask in (
        *(analysis.learning_curves, analysis.best, analysis.compare, analysis.targets_table),
        *(analysis.unfinished, analysis.confirmed, analysis.held_out, find_checkpoint),
        lambda path: analysis.pareto(load_results(path)),
        lambda path: analysis.failures(load_results(path)),
        lambda path: read_known([path]),
        lambda path: refine(SPACE, [read_known([path])], 3),
        lambda path: find_result(*read_document(path), None),
        lambda path: find_result(*read_document(path), "first"),
        lambda path: recorded_epochs(path, "first"),
    ):
        reads(ask, path)


SPACE = read_space({"experiments": {"first": {}}}, "space.yaml")


@pytest.mark.parametrize("old", OLD_RUNS[:1], ids=lambda path: path.parent.name)
def test_results(old, tmp_path):
    path = tmp_path / "results.json"
    document = json.loads((old / "results.json").read_text(encoding="utf-8"))
    text = json.dumps(document).encode()
    for _, value in given("json values", [document], changed_value, DOCUMENTS // 4):
        path.write_text(json.dumps(value), encoding="utf-8")
        analyze(path)
    for _, content in given("json bytes", [text], changed_bytes, DOCUMENTS // 8):
        path.write_bytes(content)
        analyze(path)


def test_tables_beside_them(tmp_path):
    old = OLD_RUNS[0]
    shutil.copy(old / "results.json", tmp_path)
    content = (old / "epochs.csv").read_bytes()
    for _, changed in given("csv", [content], changed_bytes, DOCUMENTS):
        (tmp_path / "epochs.csv").write_bytes(changed)
        for ask in (analysis.learning_curves, analysis.unfinished, analysis.compare):
            reads(ask, tmp_path / "results.json")
        reads(recorded_epochs, tmp_path / "results.json", "first")


# Checkpoints


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small reader's, with the digest that version 0.1 did not write."""
    from raytune_ocr.training.checkpoints.state_files import read_state, write_state

    path = tmp_path_factory.mktemp("model") / "best_model.pt"
    write_state(path, read_state(OLD_RUNS[0] / "first" / "checkpoints" / "best_model.pt"))
    return path


def test_checkpoints(checkpoint, tmp_path, monkeypatch):
    from raytune_ocr.training import load_reader
    from raytune_ocr.training.checkpoints.state_files import read_state, write_state

    path, content = tmp_path / "best_model.pt", checkpoint.read_bytes()
    monkeypatch.chdir(tmp_path)
    weights = {
        name: value.clone() for name, value in load_reader(checkpoint)[0].state_dict().items()
    }

    def check():
        model, _ = load_reader(path)
        same = all(torch.equal(weights[n], v) for n, v in model.state_dict().items())
        assert same, "other weights without a word"

    for _, changed in given("pt bytes", [content], changed_bytes, DOCUMENTS * 3 // 4):
        path.write_bytes(changed)
        reads(check)
    state = read_state(checkpoint)
    plain = {name: value for name, value in state.items() if _is_plain(value)}
    for _, value in given("pt values", [plain], changed_value, DOCUMENTS // 4):
        if isinstance(value, dict):
            write_state(path, {**state, **value})
            reads(load_reader, path)


def _is_plain(value):
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
