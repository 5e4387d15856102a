import pytest

from benchmarks.support.earlier import CONFIGS, MODES, known_points, with_relatives
from benchmarks.support.kinds import drawn
from benchmarks.support.replay import Conditions, find_method
from raytune_ocr.errors import ConfigurationError

TABLES = with_relatives([drawn("one-decisive", number) for number in range(3)])


def test_a_study_has_configs_of_another_table_with_their_curves():
    near, far, misleading = (known_points(TABLES[1:2], mode, 0).points for mode in MODES)
    assert len(near) == CONFIGS == len({str(point.fields) for point in near})
    assert [point.fields for point in near] == [point.fields for point in far]
    assert [point.curve for point in near] != [point.curve for point in far]
    assert sorted(point.score for point in near) == sorted(point.score for point in far)
    assert {e: -s for e, s in near[0].curve.items()} == misleading[0].curve


def test_relatives_are_the_other_tables_of_a_kind():
    assert [table.name for table in TABLES[0].relatives] == ["one-decisive-1", "one-decisive-2"]
    with pytest.raises(ConfigurationError, match="must have other tables of its kind"):
        with_relatives([drawn("plateau", 0), drawn("reversed", 0)])


def test_what_is_known_changes_what_is_replayed():
    method = find_method("freeze-thaw")
    once, again, without = (
        method.run(TABLES[0], 0, Conditions(20, earlier=mode)).regret
        for mode in ("near", "near", "")
    )
    assert (once == again).all() and (once != without).any()
