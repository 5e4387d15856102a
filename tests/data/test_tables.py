"""Tables of files and labels as people write them."""

import pytest

from raytune_ocr.data.tables import find_table, read_table
from raytune_ocr.errors import DataLoaderError


def table(folder, content, name="labels.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def entries(path):
    return [(row.file, row.label, row.split) for row in read_table(path).rows]


@pytest.mark.parametrize(
    "header", ["file,label", "File;LABEL", "file_name\ttext", "filename|words"]
)
def test_any_usual_header_and_separator_is_read(tmp_path, header):
    separator = next(char for char in ",;\t|" if char in header)
    assert entries(table(tmp_path, f"{header}\n1.png{separator}12\n")) == [("1.png", "12", None)]


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\r\nfile;label\r\n1.png;12\r\n",
        "\ufefffile,label\r1.png,12\r",
        "file\tlabel\r\n1.png\t12\r\n".encode("utf-16"),
        "file,label,,\n1.png,12,,\n,,,\n\n",
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, content):
    assert entries(table(tmp_path, content)) == [("1.png", "12", None)]


def test_a_quoted_separator_is_part_of_its_field(tmp_path):
    assert entries(table(tmp_path, 'file,label\n"1,2.png",12\n'))[0][0] == "1,2.png"


def test_a_row_with_more_fields_than_the_header_is_an_error_with_its_line(tmp_path):
    path = table(tmp_path, "sep=,\nfile,label\n1.png,12\n2.png,1,500\n")
    with pytest.raises(DataLoaderError, match=r"line 4: must have the 2 fields .*quotes"):
        read_table(path)


@pytest.mark.parametrize("header", ["split", " Split ", "subset", "data_split", "kind"])
def test_a_column_of_splits_is_found_by_its_header_or_by_what_it_holds(tmp_path, header):
    content = f"file,label,{header}\n1.png,12,train\n2.png,12, Validation\n"
    assert [split for *_, split in entries(table(tmp_path, content))] == ["train", "Validation"]


def test_a_column_that_looks_like_splits_and_is_none_is_an_error(tmp_path):
    path = table(tmp_path, "file,label,is_test\n1.png,12,0\n2.png,12,1\n")
    with pytest.raises(DataLoaderError, match=r"line 1: the column 'is_test' looks like a split"):
        read_table(path)


def test_two_columns_of_splits_are_an_error_and_other_columns_are_reported(tmp_path):
    path = table(tmp_path, "file,label,split,subset\n1.png,12,train,test\n")
    with pytest.raises(DataLoaderError, match="must have only one split column"):
        read_table(path)
    found = read_table(table(tmp_path, "file,label,font,writer\n1.png,12,Moul,7\n"))
    assert list(found.unused) == ["font", "writer"]


def test_a_table_is_found_by_any_spelling_of_its_name(tmp_path):
    assert find_table(tmp_path) is None
    path = table(tmp_path, "", "Labels.CSV")
    assert find_table(tmp_path) == path
    table(tmp_path, "", "labels.tsv")
    with pytest.raises(DataLoaderError, match="one table of labels"):
        find_table(tmp_path)
