import pytest
import yaml

from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.cli.dry_run import dry_run, list_experiments
from tests.fixtures.records import searched_run

FEW = """
experiments:
  reader:
    num_samples: 9
    model: {name: ctc_small}
    training: {num_epochs: 12, batch_size: {choice: [8, 16]}}
"""


def tuner(config, tmp_path, **options):
    return HyperparameterTuner(config, output_dir=tmp_path / "out", **options)


def space(tmp_path, text):
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", ["full", "searched_full", "searched_small", "presets"])
def test_a_dry_run_is_a_page(name, tmp_path):
    output = dry_run(tuner(name, tmp_path), None)
    assert len(output.splitlines()) < 80 and max(map(len, output.splitlines())) < 200


def test_the_page_tells_counts_ranges_and_three_examples(tmp_path):
    output = dry_run(tuner("searched_small", tmp_path), None)
    assert "24 trials of 1 experiment, at most 216 epochs in all" in output
    assert "#   batch_size             choice [16, 32, 64]" in output
    assert "#   step_size              randint [2, 4]  when scheduler_type is steplr" in output
    examples = yaml.safe_load(output)
    assert list(examples) == ["reader_0001", "reader_0002", "reader_0003"]
    first = examples["reader_0001"]
    assert first["rungs"] == [2, 6] and "learning_rate" in first["sampled"]
    settings = {"num_workers": 0, "mixed_precision": True, "num_epochs": 9, "loss_type": "ctc"}
    assert first["config"] == settings


def test_the_page_estimates_by_the_run_in_the_output_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none").touch()  # the data of the earlier run
    asked = tuner(space(tmp_path, FEW.replace("ctc_small", "medium")), tmp_path, data="none")
    assert "# hours: unknown, no earlier trial" in dry_run(asked, None)
    searched_run(tmp_path / "out")
    page = dry_run(asked, None)
    assert "# hours: about 0.0367 of training" in page  # 24 epochs of 5.5 s
    assert "# disk: about 0.0" in page
    assert "# cost: unknown, the file has no prices" in page


def test_the_page_names_the_scheduler_that_auto_picks(tmp_path):
    page = dry_run(tuner("presets", tmp_path, scheduler="auto"), None)
    assert "# scheduler halving, search random" in page
    first = next(iter(yaml.safe_load(page).values()))
    assert first["rungs"] == [-(-first["epochs"] // 2)]


def test_all_trials_are_reported_with_their_whole_configs_where_asked(tmp_path):
    asked = tuner("searched_small", tmp_path)
    plans = yaml.safe_load(dry_run(asked, None, every=True))
    assert {name: plan["config"] for name, plan in plans.items()} == {
        name: config.to_dict() for name, config in asked.space().configs.items()
    }


def test_the_page_and_the_list_tell_of_trials_that_there_are_not(tmp_path):
    asked = tuner(space(tmp_path, FEW), tmp_path)
    output = "a search of 2 trials instead of 9: there are no more distinct values"
    assert output in list_experiments(asked, None) and output in dry_run(asked, None)


def test_max_trials_cuts_what_is_reported(tmp_path):
    output = dry_run(tuner("presets", tmp_path, max_trials=2), None)
    assert "2 trials of 2 experiments" in output and "high_learning_rate" not in output


def test_data_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataNotFoundError, match="nowhere: no such data file or folder"):
        dry_run(tuner("presets", tmp_path, data=str(tmp_path / "nowhere")), None)
