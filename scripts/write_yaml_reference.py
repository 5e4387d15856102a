"""Write docs/reference/yaml.md from the rules of the settings: run it after changing one."""

from pathlib import Path

from raytune_ocr.tune.space.reference import yaml_reference

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "yaml.md"

if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(yaml_reference(), encoding="utf-8")
