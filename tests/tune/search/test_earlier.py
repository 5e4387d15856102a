from raytune_ocr.tune.search.earlier import best_values, earlier_studies
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from raytune_ocr.tune.space.search_space import read_space

SEARCH = {
    "num_samples": 20,
    "training": {
        "learning_rate": {"loguniform": [1e-4, 1e-2]},
        "batch_size": {"choice": [8, 16]},
        "num_epochs": 4,
    },
}
SPACE = {"preset": {}, "found": SEARCH}


def experiments():
    return read_space({"experiments": SPACE}).experiments


def known(source, *trials):
    return [
        Known(source, {"learning_rate": rate, "batch_size": size, "num_epochs": 4}, score, **more)
        for rate, size, score, more in trials
    ]


def test_curves_belong_to_the_experiment_that_has_their_settings():
    curve = {1: 0.2, 2: 0.4}
    points = known("a", (1e-3, 8, 0.4, {"curve": curve}), (2e-3, 8, 0.3, {}))
    ((first, second),) = earlier_studies(KnownPoints(points), experiments().values())
    assert (first.search, first.curve, first.max_epochs) == ("found", curve, 4)
    assert first.sampled == {"learning_rate": 1e-3, "batch_size": 8}
    assert list(second.curve.values()) == [0.3]  # no curve is recorded: its score alone


def test_each_source_is_a_study_and_one_without_a_searched_setting_is_none():
    points = [*known("a", (1e-3, 8, 0.4, {})), Known("foreign", {"depth": 3}, 0.9)]
    library = known("b", (1e-3, 8, 0.1, {}))
    studies = earlier_studies(KnownPoints(points, library=library), experiments().values())
    assert [len(study) for study in studies] == [1, 1]
    assert not earlier_studies(KnownPoints(points), [experiments()["preset"]])


def test_the_best_of_each_source_come_in_turn_and_once():
    points = [
        *known("a", (1e-3, 8, 0.9, {}), (2e-3, 8, 0.8, {}), (9.0, 8, 0.95, {})),
        *known("b", (1e-3, 8, 0.2, {}), (5e-3, 16, 0.1, {}), (6e-3, 32, 0.3, {})),
    ]
    rates = [v["learning_rate"] for v in best_values(KnownPoints(points), experiments()["found"])]
    assert rates == [1e-3, 2e-3, 5e-3]  # 9.0 and a batch of 32 lie outside


def test_a_quarter_of_the_search_at_most_repeats_earlier_settings():
    points = known("a", *((n * 1e-4, 8, 0.5, {}) for n in range(2, 40)))
    assert len(best_values(KnownPoints(points), experiments()["found"])) == 5
