"""Folders that runs of version 0.1 left when they were interrupted: they are read, and go on.

`expected_epochs.csv` is what such a run came to where it was not interrupted. Each used the seed 3,
a CPU and a thread a trial; the `asha` run trained one trial at a time.
"""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from raytune_ocr.analyze import main as analyze
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, STOP, Decision
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.journal_lines import FORMAT
from raytune_ocr.tune import learning_curves, load_results
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.chosen_options import chosen_options
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import load_space
from raytune_ocr.tune.storage.mirror import RunCopy

OLD_RUNS = Path(__file__).parents[2] / "fixtures" / "old_runs" / "v0_1"
NAMES = sorted(path.parent.name for path in OLD_RUNS.glob("*/space.yaml"))
CLONED = {
    "parent": "found_0002",
    "replaces": "found_0001",
    "settings": {"learning_rate": 0.01552, "label_smoothing": 0.08407},
}
DECISIONS = {
    "asha": [
        Decision("asha", name, epoch, CONTINUE, {"score": 0.25})
        for name, epoch in (("first", 2), ("first", 6), ("first", 18), ("second", 2), ("second", 6))
    ],
    "halving": [
        Decision("halving", "", 2, CONTINUE, {"left": 2}),
        Decision("halving", "found_0001", 2, STOP, {"left": 2}),
        Decision("halving", "found_0004", 2, STOP, {"left": 2}),
    ],
    "pbt": [
        Decision("pbt", "", 3, CONTINUE),
        Decision("pbt", "found_0002_g1", 3, EXPLOIT, CLONED),
    ],
}


@pytest.fixture
def old_run(tmp_path):
    """Copies an old run's folder; returns the copy."""

    def copied(name):
        return shutil.copytree(OLD_RUNS / name / "run", tmp_path / name)

    return copied


@pytest.fixture
def resume(old_run):
    """Goes on with a copy of an old run up to where its trials would train."""

    def resumed(name):
        folder = old_run(name)
        options = chosen_options({"resume": True}, earlier=Journal(folder).read().about)
        run = Run(folder, options, RunCopy(None, folder), "now", folder.with_suffix(".json"))
        space = load_space(
            OLD_RUNS / name / "space.yaml", overrides={"seed": 3}, output_dir=str(folder)
        )
        run.start(space, KnownPoints(), resuming=True)
        return run

    return resumed


def test_the_old_runs_are_there():
    assert set(NAMES) == set(DECISIONS)


@pytest.mark.parametrize("name", NAMES)
def test_the_journal_gives_the_decisions_of_the_old_run(old_run, name):
    replay = Journal(old_run(name)).read()
    assert replay.decisions == DECISIONS[name]
    assert replay.damaged == {} and replay.about["scheduler"] == name
    assert replay.facts == {}


@pytest.mark.parametrize("name", NAMES)
def test_its_results_are_read_and_shown(old_run, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = old_run(name)
    replay = Journal(folder).read()
    finished = sum(trial.status == "completed" for trial in replay.trials.values())
    assert (load_results(folder)["status"] == "completed").sum() == finished > 0
    assert analyze([str(folder), "--output", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "report.html").stat().st_size > 0
    if name == "asha":
        assert len(learning_curves(folder)) == 27


@pytest.mark.parametrize("name", NAMES)
def test_what_it_wrote_is_the_same_in_the_present_format(resume, name):
    run = resume(name)
    before = run.journal.read()
    run.save_state()
    run.journal.close()
    after = Journal(run.output_dir).read()
    about = {**before.about, "format": FORMAT, "results_file": str(run.results_file)}
    assert {name: after.about[name] for name in about} == about  # later options have defaults
    assert (after.decisions, after.damaged) == (before.decisions, {})
    assert list(after.trials) == list(before.trials)
    rows = [
        [pd.DataFrame(trial.epochs) for trial in replay.trials.values()]
        for replay in (before, after)
    ]
    for old, new in zip(*rows, strict=True):
        pd.testing.assert_frame_equal(new, old, check_exact=True)


def test_asha_continues_with_the_trials_that_are_left(resume):
    run = resume("asha")
    assert [run.next_trial().name for _ in range(2)] == ["second", "third"]
    assert run.next_trial() is None and len(run.records["second"].epochs) == 7
    assert {rung: len(scores) for rung, scores in run.study.scheduler.scores.items()} == {
        2: 2,
        6: 2,
        18: 1,
    }


def test_halving_continues_to_its_next_rung_with_those_that_were_left(resume):
    run = resume("halving")
    assert {run.next_trial().name for _ in range(2)} == {"found_0002", "found_0003"}
    assert run.next_trial() is None and run.study.scheduler.milestone == 4
    assert run.study.scheduler.cohort(run.study.trials) == 2


def test_a_population_continues_with_its_clone(resume):
    run = resume("pbt")
    clone = run.records["found_0002_g1"]
    assert (clone.parent, clone.parent_epoch) == ("found_0002", 3)
    assert clone.config.after(3).learning_rate == 0.01552 and not clone.is_finished
    assert run.records["found_0001"].stop_reason == "scheduler"
    assert run.study.scheduler.milestone == 6 and len(run.study.unfinished) == 4


@pytest.mark.slow
def test_an_old_run_comes_to_what_it_would_have_come_to(shared_ray, old_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = old_run("asha")
    known = learning_curves(folder)
    words = ["--config", str(OLD_RUNS / "asha" / "space.yaml"), "--data", str(OLD_RUNS / "data")]
    words += ["--output-dir", str(folder), "--results-file", f"{folder}.json", "--seed", "3"]
    assert main([*words, "--max-concurrent", "1", "--resume", "--quiet"]) == 0
    expected = pd.read_csv(OLD_RUNS / "asha" / "expected_epochs.csv")
    epochs = pd.read_csv(folder / "epochs.csv")[list(expected)]
    # Sums differ in their last bits from one kind of processor to the next.
    pd.testing.assert_frame_equal(epochs, expected, rtol=0.02)
    whole = pd.read_csv(folder / "epochs.csv").set_index(["experiment_name", "epoch"])
    for _, row in known.iterrows():
        assert whole.loc[(row["experiment_name"], row["epoch"]), "train_loss"] == row["train_loss"]
    assert set(load_results(folder)["status"]) == {"completed"}
