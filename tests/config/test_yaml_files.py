import os
import threading

import pytest
import yaml

from raytune_ocr.config.yaml_files import load_yaml, parse_yaml, to_yaml
from raytune_ocr.errors import ConfigurationNotFoundError, ConfigurationSyntaxError


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "duplicate key"),
        ("a: [\n", '.yaml", line 2'),
        ("- 1\n", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_config_is_a_syntax_error(tmp_path, text, message):
    with pytest.raises(ConfigurationSyntaxError, match=message) as caught:
        load_yaml(written(tmp_path, text))
    assert isinstance(caught.value, yaml.YAMLError)
    assert isinstance(caught.value, ValueError)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(ConfigurationNotFoundError, match="no such configuration file"):
        load_yaml(tmp_path / "absent.yaml")


def test_a_tuple_tag_is_a_list_and_other_python_tags_are_refused(tmp_path):
    assert load_yaml(written(tmp_path, "a: !!python/tuple [1, 2]\n")) == {"a": [1, 2]}
    with pytest.raises(ConfigurationSyntaxError):
        load_yaml(written(tmp_path, "a: !!python/object/apply:os.getcwd []\n"))


def test_a_merged_mapping_may_override_its_anchor(tmp_path):
    text = "base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n"
    assert load_yaml(written(tmp_path, text))["mine"] == {"a": 1, "b": 3}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1_000", 1000),
        ("1e-7", 1e-7),
        ("+1.5E3", 1500.0),
        (".5", 0.5),
        ("-.inf", -float("inf")),
        ("1:30", "1:30"),
        ("1:30.5", "1:30.5"),
        ("0b1", "0b1"),
        ("0o9", "0o9"),
        ("1_", "1_"),
        ("true", True),
    ],
)
def test_numbers_are_those_of_yaml_1_2(text, value):
    parsed = parse_yaml(text, "x")
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize("text", ["1e5", "010", "0o17", "1:30", "yes", "null", "1_0", ".5", "x"])
def test_text_stays_text_when_it_is_written_and_read(text):
    assert parse_yaml(to_yaml({"a": text}), "x") == {"a": text}


ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x0: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], x{n}: 1}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize("loader", [None, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ALIAS_BOMB, "at most 100,000 keys and values"),
        (MERGE_BOMB, "at most 100,000 keys and values"),
        ("[" + "x, " * 100_001 + "]", "at most 100,000 keys and values"),
        ("[" * 102 + "]" * 102, "at most 100 deep"),
        ("[" * 100_000, "deep|depth|exceeded"),
        ("a: &a {b: *a}", "must not contain an alias of itself"),
    ],
    ids=["aliases", "merges", "nodes", "nesting", "deep nesting", "circle"],
)
def test_a_document_that_would_fill_the_memory_is_refused(text, message, loader):
    with pytest.raises(ConfigurationSyntaxError, match=rf"(?s)bomb\.yaml: .*({message})"):
        parse_yaml(text, "bomb.yaml", loader)


@pytest.mark.parametrize(
    "text",
    ["!!bool maybe", "!!timestamp x", "!!int ''", "!!float x", "- !!set [1]", "? {a: 1}\n: 1"],
)
def test_a_tag_that_does_not_fit_its_value_is_a_syntax_error(text):
    with pytest.raises(ConfigurationSyntaxError, match=r"x\.yaml: not valid YAML"):
        parse_yaml(text, "x.yaml")


def test_a_document_may_be_as_large_as_its_reader_allows():
    assert len(parse_yaml("[" + "x, " * 500 + "]", "x", most_nodes=501)) == 500
    with pytest.raises(ConfigurationSyntaxError, match="at most 500 keys"):
        parse_yaml("[" + "x, " * 500 + "]", "x", most_nodes=500)


def test_a_pipe_is_read_once_and_known_again(tmp_path):
    pipe = tmp_path / "config.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("a: 1\n",))
    writer.start()
    assert load_yaml(pipe) == {"a": 1}
    writer.join()
    assert load_yaml(pipe) == {"a": 1}
