"""What the README shows is what there is."""

import re
import shlex
from pathlib import Path

import pytest

from raytune_ocr import analyze, export, generate, predict, train
from raytune_ocr.tune.cli import parser as tune

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PARSERS = {
    "tune": tune.build_parser,
    "generate": generate.build_parser,
    "predict": predict.build_parser,
    "train": train.build_parser,
    "analyze": analyze.build_parser,
    "export": export.build_parser,
}
COMMANDS = re.findall(r"^python -m raytune_ocr\.(\w+)(.*)$", README, re.MULTILINE)


def test_there_are_commands():
    assert len(COMMANDS) > 5
    assert {name for name, _ in COMMANDS} == set(PARSERS)


@pytest.mark.parametrize(("name", "rest"), COMMANDS)
def test_every_command_of_the_readme_parses(name, rest):
    PARSERS[name]().parse_args(shlex.split(rest, comments=True))


def test_every_python_example_compiles_and_its_imports_work():
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        compile(example, "README.md", "exec")
        imports = [line for line in example.splitlines() if line.startswith("from raytune_ocr")]
        exec("\n".join(imports), {})


def test_every_dependency_has_a_reason():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE).group(1)
    names = re.findall(r'"([\w-]+(?:\[\w+\])?)', block)
    assert len(names) > 5
    missing = [name for name in names if f"`{name}`" not in README]
    assert missing == []
