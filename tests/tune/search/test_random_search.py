from raytune_ocr.tune.search.random_search import RandomSearch
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from raytune_ocr.tune.space.search_space import read_space

SEARCH = {"num_samples": 5, "training": {"learning_rate": {"loguniform": [1e-5, 1e-1]}}}


def points(content, seed=0, known=None):
    """All that is suggested for one experiment."""
    (experiment,) = read_space({"experiments": {"found": content}}).experiments.values()
    searcher = RandomSearch(experiment, seed, known or KnownPoints())
    found = []
    while (point := searcher.suggest(len(found) + 1, ())) is not None:
        found.append(point)
    assert searcher.suggest(99, ()) is None
    assert [searcher.suggest(n, ()) for n in range(1, len(found) + 1)] == found  # as before
    return found


def test_points_follow_from_the_seed_alone():
    once, again, other = (points(SEARCH, seed) for seed in (0, 0, 1))
    assert [point.values for point in once] == [point.values for point in again]
    assert [point.name for point in once] == [f"found_{n:04d}" for n in range(1, 6)]
    assert not {str(p.values) for p in once} & {str(p.values) for p in other}


def test_a_preset_gives_one_point():
    (point,) = points({"training": {"num_epochs": 3}})
    assert (point.name, point.values, point.config.num_epochs) == ("found", {}, 3)


def test_each_combination_of_grid_values_comes_in_turn():
    grid = {"training": {"batch_size": {"grid": [8, 16]}, "num_epochs": {"grid": [1, 2]}}}
    assert len({str(point.values) for point in points(grid)}) == 4 == len(points(grid))


def test_known_points_are_not_drawn_again():
    grid = {"training": {"batch_size": {"grid": [8, 16, 32]}}}
    known = KnownPoints([Known("old.json", {"batch_size": 16}, 0.5)])
    assert [point.values["batch_size"] for point in points(grid, known=known)] == [8, 32]
