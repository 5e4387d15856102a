import pytest

from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.report.cost import fill_cost
from raytune_ocr.report.html import Section
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from tests.fixtures.records import record_of


class Kept:
    def table(self, name, table):
        return table


def section_of(folder, record):
    write_json(folder / RESULTS_COPY, results_document([record], {}, "20260101_000000"))
    section = Section("cost", "Cost")
    fill_cost(folder, None, section, Kept())
    return section


def test_the_section_has_a_row_a_preset_without_columns_that_nothing_is_known_of(tmp_path):
    record = record_of("one")
    for row in record.epochs:
        row |= {"seconds": 1800.0, "cpus": 2.0, "gpus": 0.0}
    section = section_of(tmp_path, record)
    assert section.text.startswith("3 CPU-hours, 0 GPU-hours. Hours are")
    assert section.tables[0].to_dict("records") == [
        {"experiment_name": "one", "trials": 1, "cpu_hours": 3.0, "gpu_hours": 0.0}
    ]


def test_old_results_say_that_they_do_not_know(tmp_path):
    with pytest.raises(DataNotFoundError, match="do not say"):
        section_of(tmp_path, record_of("one"))
