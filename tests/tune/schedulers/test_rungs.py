from raytune_ocr.tune.schedulers.rungs import rung_epochs


def test_rungs_grow_by_the_reduction_factor():
    assert rung_epochs(3, 2, 100) == [3, 6, 12, 24, 48, 96]


def test_the_last_epoch_is_no_rung():
    assert rung_epochs(3, 2, 12) == [3, 6]
    assert rung_epochs(5, 3, 5) == []
