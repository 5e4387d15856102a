import json

import pytest
import yaml

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.results.document import result_of, results_document, write_json
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.cli.dry_run import dry_run
from raytune_ocr.tune.search.refine import refine
from raytune_ocr.tune.search.warm_start import KNOWN, KnownPoints, read_known
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.simulated import records_of

SEARCH = {
    "num_samples": 6,
    "training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "batch_size": {"choice": [8, 16]}},
    "optimizer": {"type": {"grid": ["adam", "sgd"]}, "betas": [{"uniform": [0.8, 0.9]}, 0.99]},
}


BOTH = {"preset": {}, "found": SEARCH}


def space(**experiments):
    return read_space({"experiments": experiments or BOTH}, "space.yaml")


def drawn(known=None, **experiments):
    """The trials of a random search."""
    return records_of(experiments or BOTH, known=known).initial()


def told_by(known, **experiments):
    """What Optuna knows of earlier points before it suggests the first trial."""
    plan = records_of(experiments or BOTH, "optuna", known=known)
    return plan.searchers["found"].study().trials


def finished(records, status="completed"):
    for number, record in enumerate(records):
        record.status, record.stop_reason = status, "max_epochs"
        row = {"epoch": 1, "val_char_accuracy": number / 100, "val_seq_accuracy": 0.0}
        record.epochs.append({**row, "seconds": 1.0, "train_loss": 1.0})
    return records


@pytest.fixture
def results(tmp_path):
    """A results JSON of the first half of the trials; the last of them is the best."""
    path = tmp_path / "old.json"
    records = finished(drawn()[:7])
    write_json(path, results_document(records, {}, "20260101_000000"))
    return path


def test_what_is_known_is_not_trained_again(results):
    known = read_known([results])
    assert len(known.points) == 7
    before = {str(record.sampled) for record in drawn()[:7]}
    left = drawn(known=known)
    assert len(left) == 12 and "preset" not in [record.name for record in left]
    assert not before & {str(record.sampled) for record in left}
    assert not any(known.skip(record.config) for record in left)


def test_known_points_inform_optuna_from_its_first_trial(results):
    known = read_known([results])
    assert len(told_by(known)) == 7
    plans = records_of(BOTH, "optuna"), records_of(BOTH, "optuna", known=known)
    assert [plan.suggest({}).name for plan in plans] == ["found_0001", "found_0001"]


def test_trials_that_failed_or_have_no_score_are_not_known(tmp_path):
    records = finished(drawn()[:2], status="failed")
    path = tmp_path / "failed.json"
    write_json(path, results_document(records, {}, "t"))
    assert not read_known([path]).points


@pytest.mark.parametrize("reason", ["time_budget", "target"])
def test_trials_that_a_budget_cut_are_trained_again_but_inform_a_search(tmp_path, reason):
    records = finished(drawn()[:7])
    for record in (records[0], records[6]):
        record.stop_reason = reason
    write_json(tmp_path / "cut.json", results_document(records, {}, "t"))
    known = read_known([tmp_path / "cut.json"])
    left = drawn(known=known)
    again = [record.name for record in left if record.sampled == records[6].sampled]
    assert "preset" in [record.name for record in left]
    assert again == ["found_0001"]  # the best of earlier runs comes first
    assert len(told_by(known)) == 7
    (near,) = refine(space(), [tmp_path / "cut.json"]).experiments.values()
    assert near.domains["learning_rate"].holds(records[6].sampled["learning_rate"])


def test_other_data_is_another_point(results):
    config = drawn()[0].config
    known = read_known([results])
    assert known.skip(config)
    config.metadata_path = "elsewhere/metadata.yaml"
    assert not known.skip(config)


ORIGINAL = {
    "timestamp": "20250101_000000",
    "experiments_completed": 1,
    "all_results": [
        {
            "experiment_name": "conservative_small",
            "status": "completed",
            "best_val_char_accuracy": 0.312,
            "best_val_seq_accuracy": 0.051,
            "final_train_loss": float("inf"),
            "hyperparameters": {
                "model_name": "small",
                "batch_size": 8,
                "learning_rate": 0.001,
                "weight_decay": 0.0001,
                "loss_type": "crossentropy",
                "scheduler_type": "steplr",
                "optimizer_type": "adam",
            },
        }
    ],
}


def test_results_of_the_original_system_are_known_by_what_they_tell(tmp_path):
    path = tmp_path / "original.json"
    path.write_text(json.dumps(ORIGINAL))
    known = read_known([path])
    grid = {"batch_size": {"grid": [8, 16]}, "learning_rate": {"choice": [0.001]}}
    search = {"model": {"name": "small"}, "training": grid}
    left = drawn(known=known, found=search)
    assert [record.config.batch_size for record in left] == [16]
    (trial,) = told_by(known, found=search)
    assert trial.value == 0.312 and len(trial.params) == 2


def test_refining_narrows_the_domains_of_the_search_that_was_best(results):
    near = refine(space(), [results])
    best = drawn()[6]
    (experiment,) = near.experiments.values()
    domains = experiment.domains
    assert experiment.name == best.search == "found"
    assert domains["learning_rate"].holds(best.sampled["learning_rate"])
    reach = 100**0.25
    rate = best.sampled["learning_rate"]
    assert domains["learning_rate"].low == pytest.approx(max(1e-4, rate / reach), rel=1e-3)
    assert domains["learning_rate"].high == pytest.approx(min(1e-2, rate * reach), rel=1e-3)
    assert domains["optimizer_type"].values == (best.sampled["optimizer_type"],)
    assert domains["optimizer_betas.0"].high - domains["optimizer_betas.0"].low <= 0.0501


def test_refining_starts_from_the_winner_and_not_from_the_luckiest(results, tmp_path):
    document = json.loads(results.read_text())
    document["best_result"] = document["all_results"][2]  # the best once it was confirmed
    write_json(tmp_path / "confirmed.json", document)
    near = refine(space(), [tmp_path / "confirmed.json"]).experiments["found"].domains
    rate = document["best_result"]["config"]["learning_rate"]
    whole = space().experiments["found"].domains["learning_rate"]
    assert near["learning_rate"] == whole.around(rate)
    luckier = refine(space(), [tmp_path / "confirmed.json", results]).experiments["found"].domains
    assert luckier == refine(space(), [results]).experiments["found"].domains != near


def test_refining_a_preset_searches_around_its_config(results):
    near = refine(space(other={"training": {"num_epochs": 3}}), [results])
    best = drawn()[6].config
    (experiment,) = near.experiments.values()
    assert (experiment.name, experiment.size) == ("refined", 10)
    domains = experiment.domains
    assert domains["learning_rate"].low == pytest.approx(best.learning_rate / 3, rel=1e-3)
    assert domains["batch_size"].values == tuple(best.batch_size * x // 2 for x in (1, 2, 4))
    assert near.points["refined"]
    for point in near.points["refined"]:
        assert point.config.optimizer_type == best.optimizer_type
        assert point.config.optimizer_betas == best.optimizer_betas


def test_refining_a_preset_gives_as_many_trials_as_were_asked_for(results, tmp_path):
    path = tmp_path / "space.yaml"

    def refined(text, **options):
        path.write_text(text)
        options = {"output_dir": tmp_path / "out", "refine": [str(results)], **options}
        return HyperparameterTuner(str(path), **options).space().experiments["refined"].size

    preset = SPACE.format(size=9)
    assert refined(preset) == 10
    assert refined(preset, num_samples=30) == 30
    asked = f"{preset}\ntuning: {{num_samples: 7}}"
    assert refined(asked) == 7 and refined(asked, num_samples=30) == 30


def write_clone(path, name, **result):
    """Results of a trial that began with a rate of 0.03 and went on with 0.0009."""
    changes = [{"after_epoch": 5, "learning_rate": 0.0009}]
    clone = TrainingConfig(experiment_name=name, learning_rate=0.03, changes=changes)
    (record,) = finished([TrialRecord(clone)])
    one = {**result_of(record), **result}
    write_json(path, {"all_results": [one]})


def test_refining_continues_from_the_settings_that_a_population_ended_with(tmp_path):
    search = {"learning_rate": {"loguniform": [1e-5, 1e-1]}}
    write_clone(tmp_path / "r.json", "found_0001_g1", search="found")
    near = refine(space(found={"training": search}), [tmp_path / "r.json"])
    domain = near.experiments["found"].domains["learning_rate"]
    assert domain.values == (9e-5, 9e-3)

    write_clone(tmp_path / "r.json", "preset_g1")
    near = refine(space(preset={}), [tmp_path / "r.json"])
    assert near.experiments["refined"].domains["learning_rate"].values == (3e-4, 2.7e-3)
    assert not any(point.config.changes for point in near.points["refined"])


def test_refining_keeps_the_changes_that_the_file_has(tmp_path):
    write_clone(tmp_path / "r.json", "preset")
    preset = {"training": {"changes": [{"after_epoch": 5, "learning_rate": 0.0009}]}}
    near = refine(space(preset=preset), [tmp_path / "r.json"])
    assert near.experiments["refined"].domains["learning_rate"].values == (0.01, 0.09)
    assert all(point.config.changes for point in near.points["refined"])


def test_refining_nothing_is_reported(tmp_path):
    path = tmp_path / "none.json"
    path.write_text('{"all_results": []}')
    with pytest.raises(DataNotFoundError, match="no completed trial"):
        refine(space(), [path])


SPACE = "experiments: {{preset: {{training: {{batch_size: {size}}}}}}}"


def test_a_new_run_does_not_take_the_place_of_what_it_starts_from(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.format(size=9))
    write_json(
        tmp_path / "out" / "results.json",
        results_document(finished(drawn()[:2]), {}, "t"),
    )
    tuner = HyperparameterTuner(
        str(path), output_dir=tmp_path / "out", warm_start=[str(tmp_path / "out")]
    )
    with pytest.raises(ConfigurationError, match="a new run replaces that file"):
        tuner.run_experiments()


def test_a_run_whose_trials_are_all_known_says_so(tmp_path, caplog):
    path = tmp_path / "space.yaml"
    path.write_text(SPACE.format(size=32))
    tuner = HyperparameterTuner(str(path), output_dir=tmp_path / "out")
    (config,) = tuner.space().configs.values()
    old = finished([TrialRecord(config)])
    write_json(tmp_path / "old.json", results_document(old, {}, "t"))
    again = HyperparameterTuner(
        str(path), output_dir=tmp_path / "out", warm_start=[str(tmp_path / "old.json")]
    )
    with (
        caplog.at_level("INFO"),
        pytest.raises(ConfigurationError, match="is already in the results"),
    ):
        again.run_experiments()
    assert "preset: not trained again, preset of" in caplog.text


SEARCHED = """
experiments:
  found: {num_samples: 4, training: {learning_rate: {loguniform: [1.0e-4, 1.0e-2]}}}
"""


@pytest.fixture
def begin(tmp_path):
    """Begins the run of `SEARCHED`, or goes on with it, and trains nothing; its trials' draws."""
    path = tmp_path / "space.yaml"
    path.write_text(SEARCHED)

    def begun(**options):
        tuner = HyperparameterTuner(
            str(path), output_dir=tmp_path / "out", results_file=tmp_path / "r.json", **options
        )
        tuner.runner.train = lambda unfinished, resuming: tuner.run.save_state()
        tuner.run_experiments()
        return {name: dict(record.sampled) for name, record in tuner.records.items()}

    return begun


def grow(path, trials):
    """Results of a run of `SEARCHED` that goes on; the newest trial is the best."""
    search = {"num_samples": 4, "training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}}
    old = finished(drawn(found=search)[:trials])
    write_json(path, results_document(old, {}, "t"))


@pytest.mark.parametrize("option", ["warm_start", "refine"])
def test_a_resumed_run_keeps_its_trials_when_its_source_has_grown_or_is_gone(
    begin, tmp_path, option
):
    source = tmp_path / "old.json"
    grow(source, trials=1)
    first = begin(**{option: [str(source)]})
    assert len(first) == 4
    assert begin(resume=True) == first
    grow(source, trials=3)
    assert begin(resume=True) == first
    assert begin(resume=True, **{option: [str(source)]}) == first
    source.unlink()
    assert begin(resume_if_any=True) == first
    grow(tmp_path / "other.json", trials=3)
    with pytest.raises(ConfigurationError, match="another config"):  # which it did not begin with
        begin(resume=True, **{option: [str(tmp_path / "other.json")]})


def test_a_run_from_before_sources_were_kept_reads_them_anew(begin, tmp_path):
    grow(tmp_path / "old.json", trials=1)
    first = begin(warm_start=[str(tmp_path / "old.json")])
    file = Journal(tmp_path / "out").path
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith(f'{{"{KNOWN}"')))
    assert len(lines) > len(file.read_text().splitlines())
    assert begin(resume=True) == first


def test_what_a_run_keeps_of_its_sources_is_what_was_read(results):
    known = read_known([results])
    again = KnownPoints.of_kept(known.kept())
    assert again.points == known.points and str(again) == str(known) == str(results)
    for damaged in (5, [5], [{"source": "a"}], [{"source": "a", "result": "{"}]):
        with pytest.raises(ConfigurationError, match="restore the file"):
            KnownPoints.of_kept(damaged)


def test_a_dry_run_shows_what_a_warm_started_run_would_train(begin, tmp_path):
    old = tmp_path / "old.json"
    grow(old, trials=3)
    words = {"output_dir": tmp_path / "look", "warm_start": [str(old)]}
    tuner = HyperparameterTuner(str(tmp_path / "space.yaml"), **words)
    shown = yaml.safe_load(dry_run(tuner, None, every=True))
    assert {name: plan["sampled"] for name, plan in shown.items()} == begin(warm_start=[str(old)])
    assert not read_known([old]).skip(TrainingConfig.from_dict(shown["found_0001"]["config"]))

    path = tmp_path / "preset.yaml"
    path.write_text(SPACE.format(size=32))
    (config,) = (
        HyperparameterTuner(str(path), output_dir=tmp_path / "look").space().configs.values()
    )
    write_json(old, results_document(finished([TrialRecord(config)]), {}, "t"))
    output = dry_run(HyperparameterTuner(str(path), **words), None)
    assert output.startswith("# every trial of preset is already in the results")
