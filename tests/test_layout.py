"""Tests stand where the modules stand: `raytune_ocr/a/b.py` has `tests/a/test_b.py`."""

import ast
from pathlib import Path

import pytest

import raytune_ocr

PACKAGE = Path(raytune_ocr.__file__).parent
TESTS = Path(__file__).parent
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"]


def does_something(statement):
    """Whether a statement is more than a docstring, a refusal or an argument that is kept."""
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Raise):
        return "NotImplementedError" not in ast.unparse(statement)
    if isinstance(statement, ast.Assign):
        return not isinstance(statement.value, ast.Name)
    if isinstance(statement, ast.Return):
        return not isinstance(statement.value, ast.Constant)
    return not isinstance(statement, ast.Pass)


def has_logic(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    return any(does_something(statement) for node in functions for statement in node.body)


def file_for(module):
    return TESTS / module.relative_to(PACKAGE).parent / f"test_{module.stem.strip('_')}.py"


def test_constants_and_protocols_have_no_logic_and_functions_do():
    assert len(MODULES) > 100
    logic = {path.relative_to(PACKAGE).as_posix(): has_logic(path) for path in MODULES}
    assert not logic["version.py"] and not logic["tune/search/base.py"]
    assert logic["tune/space/domains.py"] and logic["training/checkpoints/run_folder.py"]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_a_module_with_logic_has_a_file_of_tests_of_its_name(module):
    if has_logic(module):
        file = file_for(module)
        assert file.is_file(), f"{file} is missing"
        assert "def test_" in file.read_text(encoding="utf-8")
