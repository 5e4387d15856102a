"""The arrows between modules point one way, and heavy libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import raytune_ocr

PACKAGE = Path(raytune_ocr.__file__).parent
LAYERS = {"data": 1, "models": 1, "training": 2, "tune": 3}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def layer_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else None


def package_files():
    assert len(SOURCES) > 20
    for path in SOURCES:
        relative = path.relative_to(PACKAGE)
        yield path, relative.parts[0] if relative.parts[0] in LAYERS else None


def test_lower_layers_do_not_import_higher_ones_or_their_neighbours():
    for path, layer in package_files():
        if layer is None:
            continue
        for module in imported(path):
            other = layer_of(module) if module.startswith("raytune_ocr.") else None
            if other and other != layer:
                assert LAYERS[other] < LAYERS[layer], f"{path} imports {module}"


def test_ray_and_pandas_live_under_tune_only():
    for path, layer in package_files():
        if layer != "tune":
            heavy = {module.split(".")[0] for module in imported(path)} & {"ray", "pandas"}
            assert not heavy, f"{path} imports {heavy}"


def test_matplotlib_is_imported_in_one_file_only():
    drawing = [p.name for p, _ in package_files() if any("matplotlib" in m for m in imported(p))]
    assert drawing == ["plots.py"]


@pytest.mark.parametrize(
    "module",
    [
        "raytune_ocr.tune.__main__",
        "raytune_ocr.generate",
        "raytune_ocr.predict",
        "raytune_ocr.train",
        "raytune_ocr.analyze",
        "raytune_ocr.export",
        "raytune_ocr.cli",
    ],
)
def test_a_command_line_answers_help_without_heavy_imports(module):
    code = (
        f"import sys\nfrom {module} import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_there_is_exactly_one_training_loop():
    training = [p.name for p, _ in package_files() if ".backward()" in p.read_text("utf-8")]
    assert training == ["trainer.py"]
