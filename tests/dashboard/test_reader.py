import pytest

from raytune_ocr.dashboard.reader import calibration_of, reader_errors
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from tests.fixtures.records import trial


def test_only_a_reader_has_a_confusion_matrix(tmp_path):
    record = trial(tmp_path, 0, 0.5, trainable="my_train:finetune")
    write_json(tmp_path / RESULTS_COPY, results_document([record], {}, "now"))
    with pytest.raises(RaytuneOCRError):
        reader_errors(tmp_path)


def test_calibration_has_bins_before_and_after_the_fit():
    sure = [0.95] * 20 + [0.55] * 20
    right = [True] * 10 + [False] * 10 + [True] * 5 + [False] * 15
    found = calibration_of(sure, right)
    assert found["before"] == [[pytest.approx(0.55), 0.25, 20], [pytest.approx(0.95), 0.5, 20]]
    assert sum(row[2] for row in found["after"]) == 40
    assert found["error_before"] == pytest.approx((0.3 + 0.45) / 2)
    assert found["slope"] > 0 and found["offset"] < 0


@pytest.mark.slow
def test_a_reader_run_has_a_confusion_matrix_and_its_worst_readings(confirmed_run):
    found = reader_errors(confirmed_run)
    assert len(found["matrix"]) == 10 and found["images"] > 0
    misread, shown = found["misread"], [each for each in found["misread"] if "picture" in each]
    assert found["wrong"] == len(misread) and shown == misread[:12]
    assert all(each["read"] != each["there"] for each in misread)
    assert all(each["picture"].startswith("data:image/png;base64,") for each in shown)
    sure = [each["confidence"] for each in misread]
    assert sure == sorted(sure, reverse=True)
