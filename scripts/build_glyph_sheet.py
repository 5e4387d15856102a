"""Rasterise free fonts into the glyph sheet that the package carries.

    python scripts/build_glyph_sheet.py FOLDER_OF_FONTS...

Web fonts (.woff2, e.g. from npm's @fontsource packages) are converted on the way, which takes
`pip install 'raytune-ocr[fonts]'`. Variable fonts are rasterised at several weights. The list
of sources and licences is `raytune_ocr/data/synthesis/GLYPHS.md`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fontTools.ttLib import TTFont
from fontTools.varLib.instancer import instantiateVariableFont

from raytune_ocr.data.synthesis.glyphs import RESERVED_FAMILIES, GlyphSheet, belongs_to

OUTPUT = Path(__file__).parents[1] / "raytune_ocr" / "data" / "synthesis" / "glyphs.npz"
SUFFIXES = (".ttf", ".otf", ".woff2")
VARIATIONS = [
    {"wght": weight, "wdth": width} for weight in (100, 400, 700, 900) for width in (75, 100)
]


def plain_fonts(folders: list[Path], workplace: Path) -> Iterator[Path]:
    """Files that Pillow opens: converted, and one for each weight of a variable font."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix not in SUFFIXES or belongs_to(path.stem, RESERVED_FAMILIES):
                continue
            font = TTFont(path)
            cmap = font.getBestCmap() or {}
            if 0x17E0 not in cmap:
                continue
            for number, instance in enumerate(instances(font)):
                instance.flavor = None
                target = workplace / f"{path.stem}-{number}.ttf"
                instance.save(target)
                yield target


def instances(font: TTFont) -> list[TTFont]:
    """The font itself, or a variable font at each of `VARIATIONS`."""
    if "fvar" not in font:
        return [font]
    axes = {axis.axisTag for axis in font["fvar"].axes}
    places = [{k: v for k, v in place.items() if k in axes} for place in VARIATIONS]
    unique = [place for i, place in enumerate(places) if place not in places[:i]]
    return [instantiateVariableFont(font, place, inplace=False) for place in unique]


def main() -> None:
    """Build, prune one design twice, write."""
    with tempfile.TemporaryDirectory() as workplace:
        fonts = list(plain_fonts([Path(p) for p in sys.argv[1:]], Path(workplace)))
        every = GlyphSheet.from_fonts(fonts)
    sheet = every.select([0]).joined(every)
    sheet.save(OUTPUT)
    for name in sheet.names:
        print(name)
    print(f"{len(sheet)} faces of {len(every)}, {OUTPUT.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
