import pytest

from raytune_ocr.config.settings import (
    ABOUT,
    PATHS,
    RULES,
    SECTIONS,
    Settings,
    check,
    path_of,
)
from raytune_ocr.errors import ConfigurationError


def test_every_setting_has_a_rule_a_documentation_and_a_default_that_keeps_its_rule():
    defaults = vars(Settings())
    assert set(ABOUT) == set(RULES) == set(defaults)
    for name, about in ABOUT.items():
        assert about.doc, name
        if not about.derived:
            assert about.rule.read(defaults[name], name) == defaults[name]


def test_lists_and_mappings_are_not_shared_between_settings():
    Settings().model_options["changed"] = True
    assert Settings().model_options == {}


def test_a_path_in_the_yaml_leads_to_one_setting_and_back():
    assert PATHS["training.learning_rate"] == PATHS["optimizer.learning_rate"] == "learning_rate"
    assert path_of("learning_rate") == "optimizer.learning_rate"
    assert path_of("output_dir") == "output_dir"
    for section, keys in SECTIONS.items():
        for key, name in keys.items():
            assert PATHS[f"{section}.{key}".lstrip(".")] == name


def test_later_sections_win_as_the_order_of_paths_says():
    order = list(SECTIONS)
    for about in ABOUT.values():
        places = [order.index(path.rpartition(".")[0]) for path in about.paths]
        assert places == sorted(places)


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match=r"--set: unknown setting .* 'batch_size'\?"):
        check("batchsize", 3, "--set")
