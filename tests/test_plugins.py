"""Packages of users bring models and datasets by entry points or by being imported."""

import sys
from importlib import metadata

import pytest
from torch import nn

from raytune_ocr import plugins
from raytune_ocr.data import DatasetRegistry
from raytune_ocr.errors import ConfigurationError, DataLoaderError, ModelCreationError
from raytune_ocr.models import ModelRegistry, create_model
from raytune_ocr.plugins import import_modules, plugin_names

CODE = """
from torch import nn
from raytune_ocr.data import BaseDataset

class Net(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(2, num_classes)

class Data(BaseDataset):
    def __init__(self, size=3):
        self.size = size
    def get_dataloaders(self, batch_size=32):
        return [0] * self.size, [1] * self.size
"""
POINTS = """
[raytune_ocr.models]
their_net = their_package:Net
broken_net = no_such_module:Net
[raytune_ocr.datasets]
their_data = their_package:Data
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with entry points, as pip leaves it."""
    (tmp_path / "their_package.py").write_text(CODE)
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ModelRegistry, "_factories", dict(ModelRegistry._factories))
    monkeypatch.setattr(DatasetRegistry, "_factories", dict(DatasetRegistry._factories))
    yield tmp_path
    sys.modules.pop("their_package", None)


def test_entry_points_are_listed_and_created_like_the_packages_own(installed):
    assert "their_net" in ModelRegistry.names()
    assert "their_data" in DatasetRegistry.names()
    model = create_model("their_net", num_classes=4)
    assert isinstance(model, nn.Linear)
    assert model.out_features == 4
    assert DatasetRegistry.create("their_data", size=2).get_dataloaders() == ([0, 0], [1, 1])


def test_names_are_searched_for_once_until_a_package_is_installed(installed, monkeypatch):
    searched = []

    def search(**arguments):
        searched.append(arguments)
        return metadata.entry_points(**arguments)

    monkeypatch.setattr(plugins, "entry_points", search)
    plugin_names("raytune_ocr.trackers")
    searched.clear()
    assert plugin_names("raytune_ocr.trackers") == plugin_names("raytune_ocr.trackers")
    assert not searched
    later = installed / "later-1.0.dist-info"
    later.mkdir()
    (later / "METADATA").write_text("Metadata-Version: 2.1\nName: later\nVersion: 1.0\n")
    (later / "entry_points.txt").write_text("[raytune_ocr.trackers]\nlater = later:Tracker\n")
    assert "later" in plugin_names("raytune_ocr.trackers") and len(searched) == 1


def test_an_entry_point_that_cannot_be_loaded_is_named(installed):
    with pytest.raises(ConfigurationError, match=r"'broken_net' .*no_such_module"):
        create_model("broken_net")


def test_a_wrong_option_is_reported_with_the_name(installed):
    with pytest.raises(DataLoaderError, match=r"dataset 'their_data': .*'colour'"):
        DatasetRegistry.create("their_data", colour=1)
    with pytest.raises(ModelCreationError, match=r"model 'their_net': .*'depth'"):
        create_model("their_net", num_classes=2, depth=3)


def test_a_module_of_the_working_folder_is_imported(tmp_path, monkeypatch):
    (tmp_path / "mine_alone.py").write_text("VALUE = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    import_modules(["mine_alone"])
    assert sys.modules.pop("mine_alone").VALUE == 3


def test_a_module_that_is_not_there_or_raises_is_named(tmp_path, monkeypatch):
    (tmp_path / "faulty_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, why in (("absent_module", "No module"), ("faulty_module", "division by zero")):
        with pytest.raises(ConfigurationError, match=f"'{name}': cannot be imported: .*{why}"):
            import_modules([name])


def test_installed_packages_are_searched_once_for_all_registries(installed, monkeypatch):
    searched, search = [], plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda: searched.append(1) or search())
    monkeypatch.syspath_prepend(str(installed / "other"))
    assert "their_net" in plugins.plugin_names(plugins.MODELS)
    assert "their_data" in plugins.plugin_names(plugins.DATASETS)
    assert plugins.load_plugin(plugins.MODELS, "no_such") is None
    assert len(searched) == 1
