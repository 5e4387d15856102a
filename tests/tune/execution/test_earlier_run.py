"""What becomes of a finished run when its folder is named again: trials are trained by hand."""

import json
import shutil

import pandas as pd
import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal import STATE_FILE, Journal
from raytune_ocr.results.journal_lines import read_line, write_line
from raytune_ocr.results.run_folders import taken
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.execution.earlier_run import RUN_FILES
from raytune_ocr.tune.execution.ray_executor.trial_runner import TrialRunner
from tests.fixtures.materials import train_record

SPACE = """
experiments:
  a: {training: {num_epochs: 2}}
  b: {training: {num_epochs: 2, learning_rate: 2e-3}}
  found: {num_samples: 3, training: {num_epochs: 2, learning_rate: {loguniform: [1e-4, 1e-2]}}}
"""

DECISION = {"scheduler": "pbt", "trial": "a", "epoch": 1, "decision": "exploit", "state": {}}


def train_by_hand(runner, unfinished, resuming):
    """As the real one does, with models of a few bytes."""
    run = runner.run
    if not resuming:
        run.forget_old()
    run.save_state()
    run.save_results()
    for record in unfinished:
        model = run.output_dir / record.name / "checkpoints" / "best_model.pt"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_text(f"of {run.id}")
        train_record(record, 2, 0.9)
        run.report(record, {"stop_reason": "max_epochs"})


@pytest.fixture
def create_tuner(tmp_path, monkeypatch):
    monkeypatch.setattr(TrialRunner, "train", train_by_hand)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "space.yaml").write_text(SPACE)

    def create(output="out", **options):
        return HyperparameterTuner("space.yaml", output_dir=output, **options)

    return create


def names_in(document):
    return [result["experiment_name"] for result in document["all_results"]]


def test_one_tuner_that_runs_two_experiments_keeps_both(create_tuner, tmp_path):
    tuner = create_tuner()
    both = [tuner.run_single_experiment(n, tuner.config["experiments"][n]) for n in ("a", "b")]
    for result in both:
        assert (tmp_path / "out" / result["experiment_name"] / "checkpoints").exists()
    table = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert sorted(table["experiment_name"]) == ["a", "b"]
    assert sorted(names_in(json.loads(tuner.results_file.read_text()))) == ["a", "b"]


def test_a_resume_adds_experiments_and_keeps_those_it_does_not_name(create_tuner):
    first = create_tuner().run_experiments(["a"])
    second = create_tuner(resume=True).run_experiments(["b"])
    assert sorted(names_in(second)) == ["a", "b"]
    kept = next(r for r in second["all_results"] if r["experiment_name"] == "a")
    assert kept == first["all_results"][0]
    third = create_tuner(resume=True).run_experiments(["a"])
    assert sorted(names_in(third)) == ["a", "b"]


def test_trials_of_a_search_that_became_smaller_stay_in_the_results(create_tuner):
    create_tuner().run_experiments(["found"])
    less = create_tuner(resume=True, num_samples=1).run_experiments(["found"])
    assert len(less["all_results"]) == 3
    assert {result["search"] for result in less["all_results"]} == {"found"}


def test_begun_trials_of_a_search_that_became_smaller_are_reported(
    create_tuner, monkeypatch, caplog
):
    def begin(runner, unfinished, resuming):
        runner.run.save_state()
        for record in unfinished:
            train_record(record, 1, 0.9)
            runner.run.lose(record)

    monkeypatch.setattr(TrialRunner, "train", begin)
    create_tuner().run_experiments(["found"])
    create_tuner(resume=True, num_samples=1).run_experiments(["found"])
    assert "not in the config, stay unfinished: found_0002, found_0003" in caplog.text


def test_a_results_file_in_a_folder_that_is_gone_is_reported(create_tuner, tmp_path, caplog):
    gone = tmp_path / "gone" / "r.json"
    tuner = create_tuner(results_file=gone)
    tuner.run_experiments(["a"])
    shutil.rmtree(gone.parent)
    resumed = create_tuner(resume=True)
    resumed.run_experiments(["a", "b"])
    assert f"the folder of {gone} does not exist" in caplog.text
    assert resumed.results_file.exists() and not gone.parent.exists()


def test_an_edited_tuning_section_is_reported_and_ignored(create_tuner, tmp_path, caplog):
    create_tuner().run_experiments(["a"])
    (tmp_path / "space.yaml").write_text(f"tuning: {{scheduler: none}}\n{SPACE}")
    assert create_tuner(resume=True).options.scheduler == "asha"
    assert "tuning.scheduler: none in the file is ignored" in caplog.text


def test_what_a_trial_was_made_with_stays_with_it(create_tuner, monkeypatch):
    def train_with(runner, unfinished, resuming):
        train_by_hand(runner, [], resuming)
        for record in unfinished:
            row = {"val_char_accuracy": 0.5, "val_seq_accuracy": 0.5, "seconds": 1.0}
            for epoch in (1, 2):
                made_with = {"torch": record.name}
                runner.run.report(record, {"epoch": epoch, **row, "made_with": made_with})
            runner.run.report(record, {"stop_reason": "max_epochs"})

    monkeypatch.setattr(TrialRunner, "train", train_with)
    create_tuner().run_experiments(["a"])
    document = create_tuner(resume=True).run_experiments(["a", "b"])
    found = {result["experiment_name"]: result["made_with"] for result in document["all_results"]}
    assert found == {"a": {"torch": "a"}, "b": {"torch": "b"}}


def test_a_folder_with_trials_is_refused_with_the_ways_out(create_tuner, tmp_path):
    create_tuner().run_experiments(["a"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.raises(ConfigurationError) as caught:
        create_tuner().run_experiments(["b"])
    output = str(caught.value)
    assert "1 finished and 0 unfinished trials (a)" in output
    assert all(way in output for way in ("--resume", "--overwrite", "another --output-dir"))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


@pytest.mark.parametrize("gone", [(STATE_FILE,), RUN_FILES], ids=["journal", "all but models"])
def test_a_folder_without_its_journal_is_refused_too(create_tuner, tmp_path, gone):
    create_tuner().run_experiments(["a"])
    for name in gone:
        (tmp_path / "out" / name).unlink(missing_ok=True)
    with pytest.raises(ConfigurationError, match="--overwrite"):
        create_tuner().run_experiments(["a"])


def test_a_journal_that_is_damaged_is_not_taken_for_an_empty_one(create_tuner, tmp_path):
    create_tuner().run_experiments(["a"])
    (tmp_path / "out" / STATE_FILE).write_bytes(b"\0" * 100 + b"\n")
    with pytest.raises(ConfigurationError, match="damaged"):
        create_tuner().run_experiments(["a"])


def test_overwrite_keeps_the_earlier_run_beside_the_new_one(create_tuner, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("of the user")
    old = create_tuner().run_experiments(["a", "b"])
    new = create_tuner(overwrite=True).run_experiments(["a"])
    aside = tmp_path / f"out_{old['timestamp']}"
    kept = json.loads((aside / "results.json").read_text())
    assert names_in(kept) == ["a", "b"] and names_in(new) == ["a"]
    assert (aside / "b" / "checkpoints").is_dir() and not (tmp_path / "out" / "b").exists()
    assert Journal(aside).read().trials["b"].status == "completed"
    assert (tmp_path / "out" / "notes.txt").read_text() == "of the user"
    assert taken(tmp_path / "out", old) and not taken(aside, old)
    create_tuner(overwrite=True).run_experiments(["a"])
    assert len(list(tmp_path.glob("out_*"))) == 2


def test_overwrite_keeps_what_a_storage_holds_as_well(create_tuner, tmp_path):
    create_tuner(storage=tmp_path / "kept" / "run").run_experiments(["a"])
    with pytest.raises(ConfigurationError, match="--overwrite"):
        create_tuner("elsewhere", storage=tmp_path / "kept" / "run").run_experiments(["a"])
    create_tuner(storage=tmp_path / "kept" / "run", overwrite=True).run_experiments(["b"])
    (aside,) = (tmp_path / "kept").glob("run_*")
    assert list(Journal(aside).read().trials) == ["a"]
    assert list(Journal(tmp_path / "kept" / "run").read().trials) == ["b"]


def test_a_run_of_trials_that_reported_nothing_is_begun_anew(create_tuner, monkeypatch):
    def fail(runner, unfinished, resuming):
        runner.run.save_state()
        for record in unfinished:
            runner.run.report(record, {"error_message": "broken", "stop_reason": "error"})

    monkeypatch.setattr(TrialRunner, "train", fail)
    create_tuner().run_experiments(["a"])
    monkeypatch.setattr(TrialRunner, "train", train_by_hand)
    assert names_in(create_tuner().run_experiments(["a"])) == ["a"]


def test_two_runs_of_one_second_have_a_results_file_each(create_tuner, tmp_path):
    tuners = [create_tuner(f"out{n}", overrides={"learning_rate": n / 1000}) for n in (1, 2)]
    for tuner in tuners:
        tuner.run._timestamp = "20260101_000000"
        tuner.run_experiments(["a"])
    rates = {
        path.name: json.loads(path.read_text())["all_results"][0]["config"]["learning_rate"]
        for path in tmp_path.glob("hyperparameter_tuning_results_*.json")
    }
    assert rates == {
        "hyperparameter_tuning_results_20260101_000000.json": 0.001,
        "hyperparameter_tuning_results_20260101_000000_2.json": 0.002,
    }
    assert taken(tmp_path / "out1", tuners[1].document())


def test_to_overwrite_and_to_resume_is_refused(create_tuner):
    with pytest.raises(ConfigurationError, match="--overwrite"):
        create_tuner(overwrite=True, resume=True)


def edit_about(folder, **values):
    """The first line of a journal as somebody else would write it, digest and all."""
    path = folder / STATE_FILE
    first, *others = path.read_bytes().splitlines(keepends=True)
    entry = read_line(first)
    path.write_bytes(b"".join([write_line({"run": entry["run"] | values}), *others]))


@pytest.mark.parametrize("where", ["profile", "profile.json", "elsewhere/new.json", ".hidden.json"])
def test_a_results_file_that_a_journal_names_is_no_path_to_act_on(
    create_tuner, tmp_path, caplog, where
):
    create_tuner("in/out").run_experiments(["a"])
    path = tmp_path.parent / f"{tmp_path.name}_x" / where if "/" in where else tmp_path / where
    if not path.suffix or path.name == "profile.json":
        path.write_text('{"of": "the user"}')
    edit_about(tmp_path / "in" / "out", results_file=str(path))
    there = path.read_bytes() if path.exists() else None
    tuner = create_tuner("in/out", resume=True)
    tuner.run_experiments(["a", "b"])
    assert (path.read_bytes() if path.exists() else None) == there
    assert tuner.results_file.exists() and "is not used, because it is outside" in caplog.text


@pytest.mark.parametrize(
    "name", ["../victim", "/tmp/x/victim", "a/../../victim", ".", "..", "a\nb"]
)
def test_a_name_in_a_journal_is_no_path(create_tuner, tmp_path, name):
    """Neither of a trial, nor of a decision; a fresh run removes nothing outside its folder."""
    victim = tmp_path / "victim" / "checkpoints"
    victim.mkdir(parents=True)
    create_tuner().run_experiments(["a"])
    lines = [
        {"trial": name.replace("/tmp/x", str(tmp_path)), "status": "failed", "rows": []},
        {"decisions": [{**DECISION, "trial": name}]},
        {"decisions": [{**DECISION, "state": {"parent": name, "replaces": "a", "settings": {}}}]},
    ]
    for line in lines:
        with pytest.raises(ValueError, match="not a journal's entry"):
            read_line(write_line(line))
    with (tmp_path / "out" / STATE_FILE).open("ab") as file:
        file.write(write_line(lines[0]))
    create_tuner(resume=True).run_experiments(["a"])
    assert "victim" not in (tmp_path / "out" / STATE_FILE).read_text()
    create_tuner(overwrite=True).run_experiments(["a"])
    assert victim.is_dir()


@pytest.mark.parametrize("link", ["b", "b/checkpoints", "trials.csv", STATE_FILE + ".damaged"])
@pytest.mark.parametrize("resume", [True, False])
def test_a_link_that_leads_out_of_the_folder_is_refused(create_tuner, tmp_path, link, resume):
    victim = tmp_path / "victim"
    (victim / "checkpoints").mkdir(parents=True)
    if resume:
        create_tuner().run_experiments(["a"])
        (tmp_path / "out" / link).unlink(missing_ok=True)
    (tmp_path / "out" / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / link).symlink_to(victim)
    with pytest.raises(ConfigurationError, match=r"--output-dir: must"):
        create_tuner(resume=resume).run_experiments(["b"])
    assert (victim / "checkpoints").is_dir() and not list((victim / "checkpoints").iterdir())


def test_a_kept_trial_does_not_have_its_modules_imported(create_tuner, tmp_path, monkeypatch):
    create_tuner().run_experiments(["a"])
    path = tmp_path / "out" / STATE_FILE
    entries = [read_line(line) for line in path.read_bytes().splitlines(keepends=True)]
    for entry in entries:
        if "config" in entry:
            entry["config"]["imports"] = ["of_the_sender"]
    path.write_bytes(b"".join(map(write_line, entries)))
    (tmp_path / "of_the_sender.py").write_text("raise SystemExit('it ran')")
    document = create_tuner(resume=True).run_experiments(["b"])
    assert sorted(names_in(document)) == ["a", "b"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    tuner = create_tuner(resume=True, confirm=2)
    with pytest.raises(ConfigurationError, match="if you trust them: --import of_the_sender"):
        tuner.run_experiments(["b"])
