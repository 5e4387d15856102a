"""The table of readings; the command line as a whole is tested in tests/test_predict.py."""

import csv

from raytune_ocr.inference.predict_command import _write_csv
from raytune_ocr.inference.reading import Reading


def test_cells_that_a_spreadsheet_would_run_are_quoted_and_escapes_are_shown(tmp_path):
    readings = [Reading("=HYPERLINK(1).png", "-5", 0.5), Reading("a\x1b[2J.png", "@cat", 1.0)]
    with (tmp_path / "out.csv").open("w+", encoding="ascii", newline="") as file:
        _write_csv(file, [*readings, Reading("x.png", "១២", 1.0)])
        file.seek(0)
        rows = list(csv.reader(file))[1:]
    assert rows == [
        ["'=HYPERLINK(1).png", "-5", "0.5000"],
        [r"a\x1b[2J.png", "'@cat", "1.0000"],
        ["x.png", r"\u17e1\u17e2", "1.0000"],
    ]
