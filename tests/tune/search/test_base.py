"""The searcher seam: a searcher that says nothing draws nothing blindly."""

from raytune_ocr.tune.search.random_search import RandomSearch
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space

SEARCH = {"training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}, "num_samples": 30}


def test_a_searcher_draws_nothing_blindly_unless_it_says_so():
    (experiment,) = read_space({"experiments": {"found": SEARCH}}).experiments.values()
    assert RandomSearch(experiment, 0, KnownPoints()).independent == 0
