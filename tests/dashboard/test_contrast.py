"""Colours of the page have the contrast that WCAG 2.2 AA asks for, in both themes."""

import re

import pytest

from raytune_ocr.dashboard.assets import FOLDER

STYLE = (FOLDER / "style.css").read_text(encoding="utf-8")
CHARTS = (FOLDER / "charts.js").read_text(encoding="utf-8")
TEXTS, GRAPHICS = 4.5, 3.0  # WCAG 1.4.3 and 1.4.11
BACKGROUNDS = ("back", "card", "select")
ON_BACKGROUNDS = ("text", "muted", "accent", "good", "bad", "warn")
LIGHT, DARK = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)


def rgb(color):
    """Red, green and blue of #rgb or #rrggbb, from 0 to 1."""
    digits = color.lstrip("#")
    digits = "".join(2 * each for each in digits) if len(digits) == 3 else digits
    return [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]


def luminance(color):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(color)]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def colors_of(theme):
    return dict(re.findall(r"--([\w-]+): (#\w+);", theme))


def list_of(name):
    """The colours of a list in charts.js."""
    return re.findall(r"#\w+", re.search(rf"const {name} = \[(.*?)\]", CHARTS)[1])


THEMES = [
    pytest.param(colors_of(LIGHT), list_of("LIGHT_LINES"), list_of("LIGHT_SCALE"), id="light"),
    pytest.param(colors_of(DARK), list_of("DARK_LINES"), list_of("DARK_SCALE"), id="dark"),
]


def test_the_contrast_of_known_colors_is_that_of_wcag():
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(("colors", "lines", "scale"), THEMES)
def test_texts_can_be_read_on_every_background(colors, lines, scale):
    ratios = {
        (text, back): contrast(colors[text], colors[back])
        for text in ON_BACKGROUNDS
        for back in BACKGROUNDS
    }
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < TEXTS} == {}


@pytest.mark.parametrize(("colors", "lines", "scale"), THEMES)
def test_lines_borders_of_controls_and_bars_stand_out(colors, lines, scale):
    drawn = {"borders of controls": colors["soft-line"], **{each: each for each in lines + scale}}
    backs = [colors["back"], colors["card"]]
    ratios = {name: min(contrast(color, back) for back in backs) for name, color in drawn.items()}
    assert {name: ratio for name, ratio in ratios.items() if ratio < GRAPHICS} == {}


def over(color, back, opacity):
    """A colour that lies on another one."""
    mixed = [opacity * a + (1 - opacity) * b for a, b in zip(rgb(color), rgb(back), strict=True)]
    return "#" + "".join(f"{round(255 * each):02x}" for each in mixed)


@pytest.mark.parametrize(("colors", "lines", "scale"), THEMES)
def test_points_that_lie_on_each_other_stand_out_though_they_are_translucent(colors, lines, scale):
    opacity = float(re.search(r"FAINT = ([\d.]+);", CHARTS)[1])
    ratios = {c: contrast(over(c, colors["back"], opacity), colors["back"]) for c in lines}
    assert {color: ratio for color, ratio in ratios.items() if ratio < GRAPHICS} == {}


@pytest.mark.parametrize(("colors", "lines", "scale"), THEMES)
def test_numbers_can_be_read_in_every_cell_of_a_matrix(colors, lines, scale):
    ratios = [contrast(colors["text"], colors[end]) for end in ("card", "cell")]
    assert min(ratios) >= TEXTS, ratios


def test_no_rule_has_a_color_of_its_own():
    rules = STYLE[STYLE.index("* { box-sizing") :]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\s)])", rules) == []
