import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from raytune_ocr.data import SyntheticComposer
from raytune_ocr.data.images import open_image, to_canvas
from raytune_ocr.data.plain_png import decode_plain_png

CANVAS = SyntheticComposer(seed=3).batch(1)[0][0]


def saved(path, **options):
    Image.fromarray(CANVAS).save(path, **options)
    return path


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_plain_file_is_decoded_as_pillow_decodes_it(tmp_path, level):
    canvas = decode_plain_png(saved(tmp_path / "a.png", compress_level=level))
    np.testing.assert_array_equal(canvas, CANVAS)


def test_files_that_say_more_are_left_to_pillow(tmp_path):
    note = PngInfo()
    note.add_text("XML:com.adobe.xmp", 'tiff:Orientation="3"')
    exif = Image.Exif()
    exif[0x0112] = 6  # its orientation
    others = [
        saved(tmp_path / "note.png", pnginfo=note),
        saved(tmp_path / "exif.png", exif=exif),
        saved(tmp_path / "transparent.png", transparency=20),
        saved(tmp_path / "not.png", format="JPEG"),
    ]
    for name, mode, size in (("colour", "RGB", (128, 64)), ("large", "L", (256, 64))):
        others.append(tmp_path / f"{name}.png")
        Image.new(mode, size).save(others[-1])
    assert [decode_plain_png(path) for path in others] == [None] * len(others)


def test_damaged_files_are_never_decoded_otherwise_than_pillow_decodes_them(tmp_path):
    whole = saved(tmp_path / "whole.png").read_bytes()
    file, rng = tmp_path / "damaged.png", np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(whole[: rng.choice([len(whole), len(whole) - 6, len(whole) // 2])])
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        file.write_bytes(content)
        canvas = decode_plain_png(file)
        if canvas is not None:
            with open_image(file) as image:
                np.testing.assert_array_equal(canvas, to_canvas(image))
    file.write_bytes(whole[: len(whole) // 2])
    assert decode_plain_png(file) is None


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        decode_plain_png(tmp_path / "none.png")
