import base64
import math

import pandas as pd

from raytune_ocr.report.html import Section, dark, page


def picture(folder, name):
    (folder / "dark").mkdir(exist_ok=True)
    (folder / name).write_bytes(b"light")
    (folder / "dark" / name).write_bytes(b"dark")
    return folder / name


def test_whatever_a_name_holds_it_is_text_on_the_page():
    nasty = "<script>alert(1)</script>"
    table = pd.DataFrame({nasty: [nasty]})
    text = page(nasty, [Section("s", nasty, nasty, tables=[table], note=nasty)])
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 8


def test_figures_are_short_and_what_is_missing_is_a_dash():
    table = pd.DataFrame({"score": [1 / 3, math.nan], "name": ["a" * 41, None]})
    text = page("t", [Section("s", "Scores", tables=[table])])
    assert "<td>0.33333</td>" in text and "<td>–</td>" in text
    assert f"<td class=long>{'a' * 41}</td>" in text


def test_a_picture_is_inside_the_page_light_and_dark(tmp_path):
    path = picture(tmp_path, "curves.png")
    assert dark(path) == tmp_path / "dark" / "curves.png"
    text = page("t", [Section("s", "Curves", pictures=[path])])
    for content in (b"light", b"dark"):
        assert f"data:image/png;base64,{base64.b64encode(content).decode()}" in text
    assert 'alt="Curves"' in text


def test_a_page_is_loaded_again_only_where_it_is_written_again():
    sections = [Section("one", "One"), Section("two", "Two")]
    assert "http-equiv" not in page("t", sections)
    text = page("t", sections, 30)
    assert '<meta http-equiv="refresh" content="30">' in text
    assert '<a href="#two">Two</a>' in text and '<section id="two">' in text
