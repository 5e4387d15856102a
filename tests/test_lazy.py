import sys

import pytest

from raytune_ocr.lazy import lazy_names


def test_a_name_is_imported_when_it_is_first_used(tmp_path, monkeypatch):
    (tmp_path / "loaded_late.py").write_text("VALUE = 7\nOTHER = 8\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    load, names = lazy_names("package", {"loaded_late": ["VALUE", "OTHER"]})
    assert names == ["OTHER", "VALUE"] and "loaded_late" not in sys.modules
    assert load("VALUE") == 7
    assert sys.modules.pop("loaded_late").OTHER == 8


def test_an_unknown_name_is_an_attribute_error_as_of_any_module():
    load, _ = lazy_names("package", {})
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'absent'"):
        load("absent")


@pytest.mark.parametrize("package", ["data", "models", "training", "tune"])
def test_every_name_that_a_package_offers_is_there(package):
    face = __import__(f"raytune_ocr.{package}", fromlist=["__all__"])
    assert face.__all__
    for name in face.__all__:
        assert getattr(face, name) is not None
