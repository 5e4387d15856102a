from pathlib import Path

import pytest
import yaml

from raytune_ocr.config.settings import OPTIMIZER_TYPES
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import ConfigurationError, ConfigurationNotFoundError
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.space.search_space import load_space, read_space
from raytune_ocr.tune.space.shipped_spaces import shipped_spaces
from tests.fixtures.spaces import problems_of, space

REPOSITORY = Path(__file__).parents[3]
SHIPPED = sorted(REPOSITORY.glob("search_spaces/**/*.yaml"))


def test_there_are_shipped_spaces():
    names = {"presets", "full", "quick", "smoke", "searched_small", "searched_full"}
    assert {path.stem for path in SHIPPED} == names == set(shipped_spaces())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_space_is_valid(path):
    assert load_space(path).configs


def test_the_default_presets_have_the_documented_values():
    configs = load_space("presets").configs
    values = {
        name: (c.model_name, c.batch_size, c.learning_rate, c.num_epochs, c.optimizer_type)
        for name, c in configs.items()
    }
    assert values == {
        "conservative_small": ("small", 32, 0.001, 40, "adam"),
        "baseline_optimized": ("medium", 64, 0.002, 30, "adamw"),
        "high_learning_rate": ("medium", 96, 0.003, 25, "adam"),
    }
    assert configs["conservative_small"].scheduler_type == "plateau"
    assert configs["baseline_optimized"].warmup_epochs == 3
    assert configs["high_learning_rate"].step_size == 8


def test_the_full_space_covers_every_model_loss_optimizer_and_schedule():
    configs = load_space("full").configs.values()
    assert len(configs) >= 8
    assert {"small", "medium", "large", "ctc_medium"} <= {c.model_name for c in configs}
    assert {c.loss_type for c in configs} == {"crossentropy", "focal", "ctc"}
    assert {c.optimizer_type for c in configs} == set(OPTIMIZER_TYPES)
    assert {c.scheduler_type for c in configs} == {"steplr", "cosine", "plateau"}


def test_all_problems_of_a_file_are_reported_at_once():
    output = problems_of(
        space(
            {
                "model": {"name": "smal"},
                "data": {"name": {"choice": ["khmer_digits", "digit"]}},
                "training": {"batch_size": 0, "learning_rat": 1},
                "optimiser": {},
            },
            targets={"acuracy": 1},
        )
    )
    where = "presets.yaml: experiments.fast"
    assert f"{where}.training.batch_size: must be an integer >= 1, got 0" in output
    assert f"{where}.training.learning_rat: unknown key" in output
    assert "did you mean 'learning_rate'" in output
    assert "did you mean 'optimizer'" in output
    assert f"{where}.model.name: unknown model 'smal'" in output and "mean 'small'" in output
    assert f"{where}.data.name.choice: unknown dataset 'digit'" in output
    assert "targets.acuracy: unknown target" in output


def test_names_from_the_command_line_and_the_environment_are_reported_with_the_file(monkeypatch):
    monkeypatch.setenv("RAYTUNE_OCR_DATASET_NAME", "digit")
    with pytest.raises(ConfigurationError) as caught:
        read_space(space({"optimiser": {}}), "f", overrides={"model_name": "smal"})
    output = str(caught.value)
    assert "--set model_name: unknown model 'smal'" in output and "optimiser" in output
    assert "RAYTUNE_OCR_DATASET_NAME: unknown dataset 'digit'" in output


def test_where_a_trial_goes_and_its_name_are_not_set_for_all(monkeypatch):
    overrides = {"output_dir": "elsewhere", "experiment_name": "one"}
    with pytest.raises(ConfigurationError) as caught:
        read_space(space(), "f", overrides=overrides)
    output = str(caught.value)
    assert (
        "--set output_dir: must not be set, because" in output
        and "with --output-dir, got 'e" in output
    )
    assert "--set experiment_name: must not be set" in output and "in the YAML, got 'one'" in output
    monkeypatch.setenv("RAYTUNE_OCR_OUTPUT_DIR", "elsewhere")
    assert "RAYTUNE_OCR_OUTPUT_DIR: must not be set, because" in problems_of(space())


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "../up"])
def test_an_experiment_name_that_is_no_folder_name_is_refused(name):
    assert "a name of letters" in problems_of({"experiments": {name: {}}})


@pytest.mark.parametrize("content", [{}, {"experiments": {}}, {"experiments": None}])
def test_a_file_without_experiments_is_refused(content):
    assert "at least one experiment" in problems_of(content)


def test_a_top_level_key_that_is_no_anchor_home_is_refused():
    assert "unknown key 'target'" in problems_of(space(target=3))
    read_space(space(common={"a": 1}), "presets.yaml")


def test_a_name_of_its_own_must_equal_the_key():
    assert "must equal the experiment's key" in problems_of(space({"experiment_name": "other"}))


def test_an_unknown_experiment_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'conservative_small'"):
        load_space("presets", names=["conservativ_small"])


def test_an_unknown_file_lists_the_shipped_spaces():
    with pytest.raises(ConfigurationNotFoundError, match="presets, quick, searched_full"):
        load_space("absent.yaml")


def test_the_tuner_raises_the_built_in_errors_of_its_documentation(tmp_path):
    with pytest.raises(FileNotFoundError):
        HyperparameterTuner(str(tmp_path / "absent.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("experiments: [\n")
    with pytest.raises(yaml.YAMLError):
        HyperparameterTuner(str(broken))
    broken.write_text("experiments: 3\n")
    with pytest.raises(ValueError, match="must be a mapping"):
        HyperparameterTuner(str(broken))


def test_anchors_merge_into_experiments(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("base: &base\n  training: {batch_size: 7}\nexperiments:\n  one: {<<: *base}\n")
    assert read_space(load_yaml(path)).configs["one"].batch_size == 7


TOP = """
early_stopping: {patience: 2}
training: {batch_size: 8, num_epochs: 4, learning_rate: 0.5}
optimizer: {learning_rate: 0.25}
experiments:
  one: {}
  two: {epochs: 3, training: {batch_size: 16, learning_rate: 0.125}}
"""


@pytest.mark.parametrize("head", ["", "trainable: operator:add\nmetric: {name: val_loss}\n"])
def test_a_section_at_the_top_is_for_all_experiments_which_override_it(tmp_path, head):
    path = tmp_path / "space.yaml"
    path.write_text(head + TOP)
    space = load_space(path)
    values = {
        name: (c.early_stopping_patience, c.batch_size, c.num_epochs, c.learning_rate)
        for name, c in space.configs.items()
    }
    assert values == {"one": (2, 8, 4, 0.25), "two": (2, 16, 3, 0.125)}
    assert space.shared["early_stopping"] == {"patience": 2}  # of a trial that is added later


def test_a_section_with_an_anchor_is_for_the_experiments_that_merge_it(tmp_path, caplog):
    path = tmp_path / "space.yaml"
    path.write_text(
        "training: &training {batch_size: 8}\n"
        "experiments: {one: {}, two: {training: {<<: *training, num_epochs: 4}}}\n"
    )
    sizes = {name: config.batch_size for name, config in load_space(path).configs.items()}
    assert sizes == {"one": 32, "two": 8}
    caplog.set_level("INFO")
    HyperparameterTuner(str(path), output_dir=tmp_path / "out")
    assert "only have an effect where an experiment merges them: training" in caplog.text


def test_an_unknown_mapping_that_nothing_can_merge_is_refused(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("early_stoping: {patience: 2}\nexperiments: {one: {}}\n")
    with pytest.raises(ConfigurationError, match="did you mean 'early_stopping'"):
        load_space(path)
    path.write_text(
        "common:\n  inner: &inner {num_epochs: 4}\nexperiments: {a: {training: *inner}}"
    )
    assert load_space(path).configs["a"].num_epochs == 4


def test_a_monitor_that_is_set_over_the_file_is_followed_in_its_own_direction(monkeypatch):
    def modes(**overrides):
        configs = load_space("presets", overrides=overrides).configs  # which write `mode: max`
        return {config.early_stopping_mode for config in configs.values()}

    assert modes(early_stopping_monitor="val_loss") == {"min"}
    assert modes(early_stopping_monitor="val_seq_accuracy") == {"max"}
    with pytest.raises(ConfigurationError, match="mode: must be min for val_loss"):
        modes(early_stopping_monitor="val_loss", early_stopping_mode="max")
    monkeypatch.setenv("RAYTUNE_OCR_EARLY_STOPPING_MONITOR", "val_cer")
    assert modes() == {"min"} and modes(early_stopping_monitor="val_char_accuracy") == {"max"}


def test_searched_spaces_hold_the_trials_that_they_promise():
    assert len(load_space("searched_small").configs) == 24
    configs = load_space("searched_full").configs
    assert len(configs) == 100
    assert {c.model_name for c in configs.values()} == {
        *("small", "medium", "large", "ctc_small", "ctc_medium")
    }


@pytest.mark.parametrize(
    ("name", "field", "value", "absent"),
    [
        ("searched_small", "model_name", "ctc_small", "label_smoothing"),
        ("searched_small", "optimizer_type", "adam", "weight_decay"),
        ("searched_full", "scheduler_type", "cosine", "step_size"),
    ],
)
def test_a_leaf_whose_condition_is_set_not_to_hold_is_simply_absent(
    name, field, value, absent, monkeypatch
):
    def drawn(**overrides):
        space = load_space(name, overrides=overrides)
        return [point.values for points in space.points.values() for point in points]

    number = len(drawn())
    assert any(absent in values for values in drawn())
    found = drawn(**{field: value})
    assert len(found) == number and not any(absent in values for values in found)
    monkeypatch.setenv(f"RAYTUNE_OCR_{field.upper()}", value)
    assert drawn() == found


def test_a_variable_may_set_the_only_leaf_that_is_drawn(monkeypatch):
    search = {"num_samples": 5, "training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}}
    monkeypatch.setenv("RAYTUNE_OCR_LEARNING_RATE", "0.002")
    (config,) = read_space(space(search)).configs.values()
    assert config.learning_rate == 0.002


def test_a_preset_with_the_name_of_a_drawn_trial_is_reported():
    search = {"training": {"batch_size": {"grid": [1, 2]}}}
    found = problems_of({"experiments": {"a_0002": {}, "a": search}})
    assert "its trial a_0002 has the name of a trial of a_0002" in found


def test_presets_that_one_folder_would_hold_on_some_file_systems_are_refused():
    found = problems_of({"experiments": {"Fast": {}, "other": {}, "fast": {}}})
    assert "experiments.fast: its trial fast must differ from the trial Fast of Fast" in found
    search = {"training": {"batch_size": {"grid": [1, 2]}}}
    found = problems_of({"experiments": {"A_0002": {}, "a": search}})
    assert "experiments.a: its trial a_0002 must differ from the trial A_0002" in found


@pytest.mark.parametrize(
    ("name", "goal"),
    [("character_accuracy", 99), ("accuracy", 0), ("convergence_epochs", -1), ("accuracy", "1")],
)
def test_a_target_that_no_trial_can_reach_is_refused(name, goal):
    assert f"targets.{name}: must be a " in problems_of(space(targets={name: goal}))


def test_a_search_with_too_few_different_values_says_so():
    few = space({"num_samples": 9, "training": {"batch_size": {"choice": [8, 16]}}})
    assert read_space(few).shortfalls == [
        "fast: 2 trials instead of 9: its domains have no more distinct values"
    ]
    assert read_space(space()).shortfalls == []


def test_a_parsed_space_is_narrowed_without_parsing_again():
    whole = load_space("presets")
    one = whole.only(["high_learning_rate"])
    assert list(one.experiments.values()) == [whole.experiments["high_learning_rate"]]
    assert whole.only(None) is whole
    with pytest.raises(ConfigurationError, match=r"presets\.yaml: unknown experiment 'hig'"):
        whole.only(["hig"])


def test_a_missing_key_is_also_a_key_error():
    with pytest.raises(KeyError) as raised:
        read_space({"experiment": {"a": {}}}, "mine.yaml")
    assert isinstance(raised.value, ConfigurationError)
    assert str(raised.value) == (
        "mine.yaml: experiments: must be a mapping of at least one experiment, got a file with "
        "the keys experiment"
    )
    with pytest.raises(KeyError, match="unknown experiment 'b'"):
        read_space({"experiments": {"a": {}}}).only(["b"])


OWN = {"trainable": "tests.fixtures.own_training:finetune", "epochs": 3}


def test_a_file_with_a_function_needs_no_experiments():
    found = read_space({**OWN, "parameters": {"lr": {"grid": [0.1, 0.2]}}})
    assert list(found.configs) == ["finetune_0001", "finetune_0002"]
    config = found.configs["finetune_0001"]
    assert (config.parameters, config.num_epochs) == ({"lr": 0.1}, 3)
    assert config.imports == ["tests.fixtures.own_training"] == found.imports
    assert (config.early_stopping_monitor, config.early_stopping_mode) == ("val_loss", "min")


def test_keys_at_the_top_are_defaults_of_every_experiment():
    found = read_space(
        {
            **OWN,
            "metric": {"name": "val_f1"},
            "parameters": {"lr": 0.1, "width": 8},
            "resources": {"cpus": 2},
            "experiments": {"same": None, "other": {"parameters": {"lr": 0.2}, "epochs": 5}},
        }
    )
    same, other = found.configs.values()
    assert (same.parameters, same.num_epochs) == ({"lr": 0.1, "width": 8}, 3)
    assert (other.parameters, other.num_epochs) == ({"lr": 0.2, "width": 8}, 5)
    assert {c.early_stopping_mode for c in (same, other)} == {"max"}
    assert {e.resources.cpus for e in found.experiments.values()} == {2}


def test_a_parameter_may_depend_on_another_one():
    when = {"parameters.kind": "sgd"}
    parameters = {
        "kind": {"grid": ["sgd", "adam"]},
        "momentum": {"grid": [0.0, 0.9], "when": when},
    }
    found = read_space({**OWN, "parameters": parameters}).configs.values()
    drawn = [(c.parameters["kind"], c.parameters.get("momentum")) for c in found]
    assert sorted(drawn, key=str) == [("adam", None), ("sgd", 0.0), ("sgd", 0.9)]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metric": {"name": "val_zing"}}, r"finetune\.metric\.mode: must be max or min"),
        ({"trainable": "nowhere_at_all:f"}, r"import 'nowhere_at_all': cannot be imported"),
        ({"trainable": "tests.fixtures.own_training:f"}, r"trainable: .*unknown function 'f'"),
        ({"trainable": "mine"}, r"trainable: must be the name of a function, module:function"),
        ({"task": "tests.fixtures.own_training:AbsoluteError", "trainable": None}, "a subclass of"),
        ({"parameters": [1]}, r"parameters: must be a mapping"),
        ({"targets": {"zing": 3}}, r"targets\.zing: its name does not tell"),
        ({"parametres": 3}, "unknown key 'parametres'"),
    ],
)
def test_what_is_wrong_with_a_task_of_ones_own_is_said_with_its_place(keys, message):
    with pytest.raises(ConfigurationError, match=message):
        read_space({**OWN, **keys})


def test_a_target_may_be_any_metric_of_a_task_of_ones_own_but_of_no_other():
    assert read_space({**OWN, "targets": {"val_f1": 0.9}}).targets == {"val_f1": 0.9}
    with pytest.raises(ConfigurationError, match=r"targets\.val_f1: unknown target"):
        read_space({"experiments": {"a": {}}, "targets": {"val_f1": 0.9}})
