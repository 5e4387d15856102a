from raytune_ocr.data import DatasetRegistry, GlyphSheet
from raytune_ocr.data.datasets import khmer_digits
from raytune_ocr.data.synthesis.generator import generate_dataset


def test_the_default_set_is_made_where_it_is_absent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = GlyphSheet.load_bundled().select([0])
    monkeypatch.setattr("raytune_ocr.data.synthesis.generator.glyph_sheet", lambda *_: sheet)
    monkeypatch.setattr(
        khmer_digits, "ensure_default_data", lambda p, _: generate_dataset(p.parent, 20)
    )
    train, _ = DatasetRegistry.create("khmer_digits").get_dataloaders(batch_size=4)
    assert len(train.dataset) == 16
    assert (tmp_path / "generated_data" / "metadata.yaml").is_file()
