"""The README is short, its two main commands are whole, and what it names is there."""

import re

import pytest

from raytune_ocr.results.record import BEST_MODELS_KEPT
from tests.fixtures.pages import REPOSITORY, blocks, commands, inline_commands, marked_block
from tests.test_docs import PARSERS, own_command

PAGE = REPOSITORY / "README.md"
README = PAGE.read_text(encoding="utf-8")
PROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
DEPENDENCIES = REPOSITORY / "docs" / "reference" / "dependencies.md"
SETUP = "python3 -m venv .venv && .venv/bin/pip install -q"


def test_the_readme_is_read_in_a_few_minutes():
    assert len(README.split()) <= 1500


@pytest.mark.parametrize(
    ("mark", "command"),
    [
        ("run", f"{SETUP} . && .venv/bin/python -m raytune_ocr.tune\n"),
        ("test", f"{SETUP} '.[test]' && .venv/bin/python -m pytest -n 4 --dist worksteal\n"),
    ],
)
def test_each_main_command_is_one_line_to_paste(mark, command):
    assert marked_block(PAGE, mark) == command


def test_ci_runs_the_readmes_test_command():
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert "/<!-- test -->/" in script and "README.md" in script


def test_the_readme_shows_or_names_every_command():
    shown = [*commands(PAGE), *inline_commands(PAGE)]
    modules = {found[0] for words in shown if (found := own_command(words))}
    assert set(PARSERS) <= modules
    assert len(blocks(PAGE, "bash")) >= 3


def test_the_readme_tells_how_many_models_stay_and_how_to_keep_more():
    words = {3: "three", 5: "five", 10: "ten", 20: "twenty"}
    assert f"the models of the {words[BEST_MODELS_KEPT]} best trials stay" in README
    for given in re.findall(r"`--keep-models (\w+)`", README):
        number = given.replace("N", "5")
        assert PARSERS["raytune_ocr.tune"]().parse_args(["--keep-models", number])
    assert "`--keep-models all`" in README


def test_the_readme_names_the_trainer_of_experiments_and_the_registries():
    for name in ("ExperimentTrainer", "ModelRegistry", "DatasetRegistry"):
        assert f"`{name}`" in README


def test_the_pictures_of_the_readme_are_small_enough_for_a_page():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert pictures
    for picture in pictures:
        assert (REPOSITORY / picture).stat().st_size < 300_000


def test_every_page_of_the_documentation_is_linked():
    pages = (REPOSITORY / "docs").rglob("*.md")
    missing = [
        page.name
        for page in pages
        if page.name != "index.md" and f"({page.relative_to(REPOSITORY).as_posix()})" not in README
    ]
    assert missing == []


def test_every_dependency_has_a_reason():
    listed = PROJECT[PROJECT.index("dependencies = [") : PROJECT.index("[project.scripts]")]
    names = set(re.findall(r'"([\w-]+(?:\[\w+\])?)', listed))
    assert {"torch", "ray[tune]", "optuna", "sphinx"} <= names
    text = DEPENDENCIES.read_text(encoding="utf-8")
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
