"""Images that nobody means well, or that are only unusual: refused with a reason, or read right."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from raytune_ocr.data import load_split, to_canvas
from raytune_ocr.data.images import holds_several
from raytune_ocr.errors import DataLoaderError

DARK, LIGHT = 30, 220


def labelled(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    (folder / "labels.csv").write_text(f"file,label,split\n{name},12,train\n", encoding="utf-8")
    return folder / "labels.csv"


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stripe(mode="L"):
    """A dark stripe on light ground: after reading, still dark on light."""
    image = Image.new("L", (128, 64), LIGHT)
    image.paste(DARK, (0, 24, 128, 40))
    if mode == "I;16":
        return Image.fromarray(np.asarray(image, dtype=np.uint16) * 257)
    return image.convert(mode)


def png_that_claims(width, height):
    """A few bytes that say they are a large picture."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


REFUSED = {
    "a bomb beyond what Pillow allows": png_that_claims(60_000, 60_000),
    "a bomb that Pillow only warns of": png_that_claims(12_000, 12_000),
    "a bomb of one bit a pixel": encoded(Image.new("1", (10_000, 10_000))),
    "truncated": encoded(stripe())[:-40],
    "half of a JPEG": encoded(stripe(), "JPEG")[:300],
    "a text named as a picture": b"<svg onload=alert(1)>",
    "nothing": b"",
    "a PNG without an image": b"\x89PNG\r\n\x1a\n",
    "numbers that are none": encoded(Image.fromarray(np.full((9, 9), np.nan, "float32")), "TIFF"),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.filterwarnings("error", "ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_picture_to_learn_from_is_refused_by_name(tmp_path, content):
    with pytest.raises(DataLoaderError, match=r"bad\.png: not a readable image"):
        load_split(labelled(tmp_path, "bad.png", content))


READ = {
    "16 bit": encoded(stripe("I;16")),
    "32 bit": encoded(stripe("I"), "TIFF"),
    "floating point": encoded(stripe("F"), "TIFF"),
    "CMYK": encoded(stripe("CMYK"), "JPEG"),
    "a palette": encoded(stripe("P")),
    "one bit": encoded(stripe("1")),
    "transparent ground": encoded(stripe("LA")),
    "a JPEG named as a PNG": encoded(stripe(), "JPEG"),
    "an animation, its first picture": encoded(
        stripe("P"), "GIF", save_all=True, append_images=[Image.new("P", (128, 64))]
    ),
}


@pytest.mark.parametrize("content", READ.values(), ids=READ.keys())
@pytest.mark.filterwarnings("error")
def test_what_is_only_unusual_is_read_right(tmp_path, content):
    image = load_split(labelled(tmp_path, "a.png", content)).images[0].astype(int)
    assert np.median(image[28:36]) + 100 < np.median(image[:20])  # one bit is a pattern of dots


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_photo_is_read_as_it_is_to_be_looked_at(orientation, kind):
    upright = stripe()
    upright.paste(DARK, (0, 0, 16, 64))  # nothing about it is symmetric
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = back
    lying = upright.copy()
    lying.getexif()[ExifTags.Base.Orientation] = orientation
    content = encoded(ImageOps.exif_transpose(lying), kind, exif=exif)
    canvas = to_canvas(Image.open(io.BytesIO(content))).astype(int)
    assert np.abs(canvas - np.asarray(upright)).mean() < 2  # a JPEG is not exact


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM", b"Exif\0\0no EXIF at all", b"\0"])
def test_a_photo_whose_exif_is_damaged_is_read_as_it_is(exif):
    content = encoded(stripe(), "JPEG", exif=exif)
    plainly = to_canvas(Image.open(io.BytesIO(encoded(stripe(), "JPEG"))))
    assert np.array_equal(to_canvas(Image.open(io.BytesIO(content))), plainly)


def test_other_pictures_behind_the_first_are_noticed_whatever_is_wrong_with_them():
    pages = {"save_all": True, "append_images": [Image.new("P", (128, 64), 9)]}
    content = encoded(stripe("P"), "GIF", **pages)
    found = set()
    for length in range(len(content) // 2, len(content)):
        with contextlib.suppress(OSError), Image.open(io.BytesIO(content[:length])) as image:
            to_canvas(image)
            found.add(holds_several(image))
    assert found == {True, False}  # as much as is there of the second one decides
    assert holds_several(Image.open(io.BytesIO(content)))
    assert not holds_several(Image.open(io.BytesIO(encoded(stripe("P"), "GIF"))))


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
def test_pictures_of_a_pixel_or_a_line_are_read(size):
    canvas = to_canvas(Image.new("L", size, 77))
    assert canvas.shape == (64, 128) and (canvas == 77).all()


SOUND = [
    encoded(stripe(mode), kind)
    for mode, kind in [
        *(("L", "PNG"), ("P", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF")),
        *(("I;16", "TIFF"), ("RGB", "BMP"), ("RGB", "WEBP")),
    ]
]


@given(
    content=st.sampled_from(SOUND),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=12),
    length=st.integers(1, 4000),
)
@pytest.mark.filterwarnings("ignore")
def test_whatever_happens_to_a_file_it_is_read_or_refused(
    tmp_path_factory, content, changes, length
):
    damaged = bytearray(content[:length])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    path = labelled(tmp_path_factory.getbasetemp() / "damaged", "a.png", bytes(damaged))
    with contextlib.suppress(DataLoaderError):
        assert load_split(path).images.shape == (1, 64, 128)
