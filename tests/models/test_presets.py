import pytest

from raytune_ocr.errors import ModelCreationError
from raytune_ocr.models.presets import ALIASES, PRESETS, RULES, Architecture


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_keeps_the_rules_and_survives_a_yaml_file(name):
    preset = PRESETS[name]
    written = preset.to_dict()
    assert not any(isinstance(value, tuple) for value in written.values())
    settings = {key: value for key, value in written.items() if key != "kind"}
    assert set(settings) == set(RULES)
    assert Architecture(preset.kind).override(settings, "file") == preset


def test_an_alias_names_a_preset():
    assert set(ALIASES.values()) <= set(PRESETS) and not set(ALIASES) & set(PRESETS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": [8]}, "channels: must be a list of 2 to 6 integers >= 1, got (8,)"),
        ({"channels": [8, True]}, "channels: must be a list"),
        ({"dilations": []}, "dilations: must be a list of 1 to 16 integers >= 1, got ()"),
        ({"dropout": 1}, "dropout: must be a number >= 0 and < 1, got 1"),
        ({"patch": 3}, "patch: must be 2 or 4, got 3"),
        ({"blocks": 5}, "blocks: must be an integer >= 0 and <= 4, got 5"),
        ({"hiden": 5}, "did you mean 'hidden'"),
    ],
)
def test_an_override_that_breaks_a_rule_is_reported_with_its_place(settings, message):
    with pytest.raises(ModelCreationError) as caught:
        PRESETS["small"].override(settings, "model.yaml")
    assert str(caught.value).startswith("model.yaml: ") and message in str(caught.value)
    assert PRESETS["small"] == Architecture("attention")
