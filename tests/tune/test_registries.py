import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS
from raytune_ocr.tune.schedulers.base import Scheduler
from raytune_ocr.tune.search.base import Searcher


@pytest.mark.parametrize(
    ("registry", "base", "expected"),
    [
        (SCHEDULERS, Scheduler, {"asha", "halving", "hyperband", "median", "pbt", "none"}),
        (SEARCHERS, Searcher, {"random", "optuna"}),
    ],
)
def test_every_name_is_a_class_that_has_it(registry, base, expected):
    assert expected <= set(registry.names())
    for name in expected:
        assert issubclass(registry[name], base)
        assert registry[name].name == name


def test_an_unknown_scheduler_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match=r"unknown scheduler 'ahsa'.*'asha'\?"):
        SCHEDULERS["ahsa"]
