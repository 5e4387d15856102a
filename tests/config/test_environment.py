import pytest

from raytune_ocr.config.environment import environment_overrides, parse_assignments
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError, ConfigurationSyntaxError


def test_the_environment_overrides_a_field():
    variables = {"RAYTUNE_OCR_BATCH_SIZE": "7", "RAYTUNE_OCR_MODEL_NAME": "small"}
    config = TrainingConfig.from_dict({"batch_size": 64}, environment=variables)
    assert (config.batch_size, config.model_name) == (7, "small")


def test_a_wrong_variable_is_named():
    with pytest.raises(ConfigurationError, match="RAYTUNE_OCR_BATCH_SIZE: must be an integer"):
        TrainingConfig.from_dict({}, environment={"RAYTUNE_OCR_BATCH_SIZE": "many"})


def test_a_value_that_is_no_yaml_is_reported(monkeypatch):
    monkeypatch.setenv("RAYTUNE_OCR_OPTIMIZER_BETAS", "[0.9, 0.99")
    with pytest.raises(ConfigurationError, match=r"optimizer_betas: must be YAML.*\[0.9, 0.99"):
        environment_overrides()
    with pytest.raises(ConfigurationSyntaxError):
        parse_assignments(["optimizer_betas=["])


def test_a_variable_of_no_setting_is_warned_of_once_with_the_nearest_one(caplog):
    variables = {"RAYTUNE_OCR_BATCHSIZE": "64", "RAYTUNE_OCR_SEED": "1", "OTHER": "1"}
    for _ in range(2):
        assert environment_overrides(variables) == {"seed": 1}
    (output,) = caplog.messages
    assert "RAYTUNE_OCR_BATCHSIZE has no effect: unknown setting 'batchsize'" in output
    assert "did you mean 'batch_size'" in output


def test_an_assignment_names_a_field_or_its_place_in_the_file():
    settings = parse_assignments(
        ["num_epochs=010", "optimizer.type=adamw", "early_stopping.mode=min"]
    )
    assert settings == {"num_epochs": 10, "optimizer_type": "adamw", "early_stopping_mode": "min"}
    assert parse_assignments(["model_name=1e5"]) == {"model_name": "1e5"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_size", "--set: must be KEY=VALUE, got 'batch_size'"),
        ("batchsize=3", "--set batchsize: unknown setting .* did you mean 'batch_size'"),
        ("optimizer.tpye=adam", "did you mean 'optimizer.type'"),
        ("batch_size=1:04", "--set batch_size: must be an integer >= 1, got '1:04'"),
        ("changes=[" + "[" * 200 + "]" * 201, "at most 100 deep"),
    ],
)
def test_an_assignment_that_is_wrong_is_reported(text, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_assignments([text])
