"""Synthetic images: glyphs, strokes, composed strings and generated sets."""
