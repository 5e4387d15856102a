import numpy as np
import pytest

from benchmarks.support.kinds import KINDS, drawn
from benchmarks.support.tables import read_tables
from raytune_ocr.errors import ConfigurationError


def written(path, **changed):
    """A table of one task: three configs of two settings, two epochs, the last one diverged."""
    content = {
        "tasks": np.array(["one"]),
        "names": np.array(["rate", "beta1"]),
        "configs": np.array([[1e-4, 0.9], [1e-3, 0.99], [1e-2, 0.999]]),
        "loss": np.array([[[1.0, 0.5, 0.7], [1.0, 9.0, 0.4], [1.0, np.nan, np.nan]]]),
        "finite": np.array([[True, True, False]]),
    }
    np.savez(path, **{**content, **changed})
    return path


def test_settings_lie_on_log_scales_and_diverged_configs_are_left_out(tmp_path):
    (table,) = read_tables(written(tmp_path / "t.npz"))
    assert table.places == pytest.approx(np.array([[0.0, 1.0], [0.5, 0.5]]))


def test_a_search_is_reported_the_best_so_far_cut_off_at_twice_the_untrained(tmp_path):
    (table,) = read_tables(written(tmp_path / "t.npz"))
    assert table.scores == [[-0.5, -0.5], [-2.0, -0.4]]
    assert (table.best, table.scale) == (0.4, pytest.approx(1.25 - 0.4))


def test_a_suggestion_becomes_the_nearest_config_that_is_free(tmp_path):
    (table,) = read_tables(written(tmp_path / "t.npz"))
    free = np.array([True, True])
    assert table.nearest({"rate": 0.1, "beta1": 0.8}, free) == 0
    free[0] = False
    assert table.nearest({"rate": 0.1, "beta1": 0.8}, free) == 1


def test_another_choice_is_farther_than_any_number(tmp_path):
    scales = np.array(["choice", "linear"])
    configs = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.5]])
    (table,) = read_tables(written(tmp_path / "t.npz", scales=scales, configs=configs))
    assert table.values(1) == {"rate": "1", "beta1": 1.0}
    assert table.nearest({"rate": "1", "beta1": 0.0}, np.array([True, True])) == 1


def test_what_is_no_table_is_an_error_that_names_the_file(tmp_path):
    np.savez(tmp_path / "t.npz", loss=np.zeros(3))
    with pytest.raises(ConfigurationError, match=r"t\.npz: must hold tasks, names"):
        read_tables(tmp_path / "t.npz")
    with pytest.raises(ConfigurationError, match=r"scales: must be of log"):
        read_tables(written(tmp_path / "s.npz", scales=np.array(["log", "cube"])))


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_table_is_always_the_same_and_every_config_is_nearest_to_itself(kind):
    table = drawn(kind, 1)
    assert np.array_equal(table.loss, drawn(kind, 1).loss, equal_nan=True)
    assert not np.array_equal(table.loss, drawn(kind, 2).loss, equal_nan=True)
    free = np.ones(len(table.loss), dtype=bool)
    assert all(table.nearest(table.values(number), free) == number for number in (0, 7, 999))


def test_the_best_settings_of_drawn_tables_are_not_in_the_middle():
    best = [
        table.places[np.nanargmin(table.loss[:, -1])]
        for table in (drawn("power-laws", number) for number in range(20))
    ]
    assert np.abs(np.array(best) - 0.5).mean() > 0.2
