from pathlib import Path

from raytune_ocr.config.settings import SECTIONS
from raytune_ocr.tune.options import TUNING
from raytune_ocr.tune.space.reference import yaml_reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "yaml.md"


def test_the_page_is_what_the_rules_say():
    assert PAGE.read_text(encoding="utf-8") == yaml_reference(), (
        "stale: run python scripts/write_yaml_reference.py"
    )


def test_every_setting_and_option_has_a_row():
    lines = yaml_reference().splitlines()
    for section, keys in SECTIONS.items():
        start = lines.index(f"### {section}" if section else "### Keys of an experiment itself")
        table = "\n".join(lines[start + 2 : start + 8 + len(keys)])
        assert all(f"| `{key}` |" in table for key in keys)
    assert all(any(line.startswith(f"| `{name}` |") for line in lines) for name in TUNING)
