from raytune_ocr.models import ModelRegistry
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.spaces import problems_of, space


def test_names_are_known_once_the_modules_of_their_experiment_are_imported(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ModelRegistry, "_factories", {**ModelRegistry._factories})
    (tmp_path / "brings_a_model.py").write_text(
        "from raytune_ocr.models import ModelRegistry\n"
        "ModelRegistry.register('brought')(lambda num_classes: None)\n"
    )
    brought = {"model": {"name": "brought", "imports": ["brings_a_model"]}}
    assert read_space(space(brought)).configs
    more = read_space(space(brought), overrides={"imports": ["json", "brings_a_model"]})
    assert more.configs["fast"].imports == ["brings_a_model", "json"]
    absent = {"model": {"name": "other", "imports": ["absent_module"]}}
    found = problems_of(space(absent, targets={"acuracy": 1}))
    assert "experiments.fast.model.imports: import 'absent_module': cannot be imported" in found
    assert "unknown model" not in found and "targets.acuracy" in found


def test_options_that_a_model_or_dataset_does_not_take_are_reported_with_the_rest(tmp_path):
    output = problems_of(
        {
            "experiments": {
                "fast": {
                    "model": {"options": {"widht": {"choice": [1, 2]}, "dropout": 7}},
                    "data": {"options": {"composd": 16}},
                    "training": {"batch_size": 0},
                },
                "other": {"model": {"name": "ctc", "config_path": str(tmp_path / "absent.yaml")}},
            }
        }
    )
    where = "presets.yaml: experiments.fast"
    assert f"{where}.model.options: model 'medium': unknown model setting 'widht'" in output
    assert f"{where}.model.options: model 'medium': dropout: must be a number >= 0" in output
    assert f"{where}.data.options: dataset 'khmer_digits': unknown option 'composd'" in output
    assert "batch_size: must be" in output and "absent.yaml: no such configuration file" in output
