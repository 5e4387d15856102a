"""Sphinx: Markdown pages by MyST, the Furo theme; nothing is imported from the package."""

project = "raytune_ocr"
author = "raytune_ocr maintainers"
copyright = "2026, raytune_ocr maintainers"

extensions = ["myst_parser"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "raytune_ocr"
