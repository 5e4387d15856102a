import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from raytune_ocr.data.synthesis.glyphs import (
    DEVELOPMENT_FAMILIES,
    RESERVED_FAMILIES,
    FontCheckError,
    GlyphSheet,
    belongs_to,
    discover_fonts,
    rasterise,
)
from raytune_ocr.errors import DataLoaderError, DataNotFoundError


@pytest.fixture(scope="module")
def sheet():
    return GlyphSheet.load_bundled()


@pytest.fixture
def foreign_font(tmp_path):
    """A real font without Khmer digits: the one that Pillow carries."""
    path = tmp_path / "Foreign.ttf"
    path.write_bytes(ImageFont.load_default(20).font_bytes)
    return path


def test_the_bundled_sheet_has_ten_distinct_inked_digits_of_every_face(sheet):
    assert len(sheet) >= 40
    for glyphs, widths in zip(sheet.glyphs, sheet.widths, strict=True):
        assert len({glyph.tobytes() for glyph in glyphs}) == 10
        assert all(glyph[:, :width].max() > 0 for glyph, width in zip(glyphs, widths, strict=True))


def test_no_bundled_face_is_of_a_reserved_family(sheet):
    assert [name for name in sheet.names if belongs_to(name, RESERVED_FAMILIES)] == []


@pytest.mark.parametrize("family", RESERVED_FAMILIES)
def test_a_font_of_a_reserved_family_is_neither_found_nor_opened(tmp_path, family):
    path = tmp_path / f"{family.replace(' ', '')}-Regular.ttf"
    path.write_bytes(b"never read")
    assert discover_fonts([tmp_path]) == []
    with pytest.raises(FontCheckError, match="reserved"):
        rasterise(path)


def test_a_reserved_family_under_another_file_name_is_refused(foreign_font, monkeypatch):
    monkeypatch.setattr(
        ImageFont.FreeTypeFont, "getname", lambda font: ("Odor Mean Chey", "Regular")
    )
    with pytest.raises(FontCheckError, match="reserved"):
        rasterise(foreign_font)


def test_a_font_without_khmer_digits_is_named_and_skipped(foreign_font, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(DataLoaderError, match="no font with ten"):
        GlyphSheet.from_fonts([foreign_font])
    assert "Foreign.ttf" in caplog.text
    assert "digits must be" in caplog.text


def test_a_file_that_is_no_font_is_named(tmp_path):
    path = tmp_path / "broken.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(FontCheckError, match=r"broken\.ttf: not a font"):
        rasterise(path)


def test_development_families_can_be_left_out_and_taken_alone(sheet):
    kept, left = sheet.without(DEVELOPMENT_FAMILIES), sheet.only(DEVELOPMENT_FAMILIES)
    assert len(kept) + len(left) == len(sheet)
    assert len(left) >= 4
    assert not set(kept.names) & set(left.names)


def test_the_same_design_is_joined_once(sheet):
    assert len(sheet.joined(sheet.select([0, 1]))) == len(sheet)


def test_a_sheet_survives_its_file(sheet, tmp_path):
    path = tmp_path / "sheet.npz"
    sheet.select([3, 4]).save(path)
    with np.load(path) as stored:
        assert np.array_equal(stored["glyphs"], sheet.glyphs[3:5])
        assert tuple(stored["names"]) == sheet.names[3:5]


def test_a_missing_folder_of_fonts_is_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such folder of fonts"):
        discover_fonts([tmp_path / "absent"])


def test_the_list_of_sources_names_every_family(sheet):
    listed = (
        Path(__file__).parents[3] / "raytune_ocr" / "data" / "synthesis" / "GLYPHS.md"
    ).read_text()
    missing = {name for name in sheet.names if f"| {name} |" not in listed}
    assert missing == set()


def test_every_face_is_in_one_family_with_its_weights_and_slants():
    sheet = GlyphSheet.load_bundled()
    families = [{sheet.names[face] for face in family} for family in sheet.families]
    assert sorted(face for family in sheet.families for face in family) == [*range(len(sheet))]
    assert {"Content Regular", "Content Bold"} in families
    assert {"Kdam Thmor Regular"} in families and {"Kdam Thmor Pro Regular"} in families
