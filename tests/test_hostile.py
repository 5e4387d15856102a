"""Files and names that nobody means well: refused with the package's own errors, or read right."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.data import load_split
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.results.journal import Journal, fingerprint
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune import load_results
from raytune_ocr.tune.chosen_options import chosen_options
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.space.shipped_spaces import find_space
from raytune_ocr.tune.storage.mirror import RunCopy

RESULTS = {
    "truncated": b"{",
    "a list": b"[1]",
    "null": b"null",
    "results that are a number": b'{"all_results": 3}',
    "a result that is a number": b'{"all_results": [1]}',
    "hyperparameters that are a number": b'{"all_results": [{"hyperparameters": 3}]}',
    "no UTF-8": b"\xff\xfe",
    "nested too deep": b"[" * 100_000,
    "too long a number": b'{"a": ' + b"9" * 5000 + b"}",
}
SPACES = {
    "no UTF-8": b"\xff\xfe\xff",
    "a NUL": b"a: \0",
    "nested too deep": b"[" * 5000,
    "a list as a key": b"? [a]\n: 1",
    "a tag": b"!!python/object:os.system {}",
    "a day that never was": b"experiments: {2020-13-45: {}}",
    "an anchor within itself": b"experiments: &a {b: *a}",
    "too long a number": b"a: " + b"9" * 5000,
}
NAMES = ["..", "/abs", "a\0b", "x" * 300, "\u202eabc", "a/b", ".", "", 1]


@pytest.mark.parametrize("content", RESULTS.values(), ids=RESULTS.keys())
def test_results_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(RaytuneOCRError, match=r"r\.json"):
        load_results(tmp_path / "r.json")


def test_scores_that_are_no_numbers_are_missing(tmp_path):
    text = '{"all_results": [{"best_val_char_accuracy": "x"}, {"best_val_char_accuracy": 1}]}'
    (tmp_path / "r.json").write_text(text)
    table = load_results(tmp_path / "r.json")
    assert table["best_val_char_accuracy"].isna().tolist() == [False, True]


@pytest.mark.parametrize("content", SPACES.values(), ids=SPACES.keys())
def test_a_space_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "s.yaml").write_bytes(content)
    with pytest.raises(RaytuneOCRError, match=r"s\.yaml"):
        read_space(load_yaml(tmp_path / "s.yaml"), "s.yaml")


@pytest.mark.parametrize("name", NAMES, ids=map(repr, range(len(NAMES))))
def test_an_experiment_cannot_be_named_out_of_its_folder(name):
    with pytest.raises(RaytuneOCRError, match="a name of letters"):
        read_space({"experiments": {name: {}}}, "s.yaml")


@pytest.mark.parametrize("path", ["a\0b", "a" * 300])
def test_a_path_that_no_file_can_have_is_refused(path):
    for read in (load_yaml, find_space, load_results):
        with pytest.raises(RaytuneOCRError):
            read(path)


def named(folder, kind, name):
    """A data set with one image of that name, as a table or as metadata."""
    import csv

    import yaml

    if kind == "table":
        path = folder / "labels.csv"
        with path.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
            csv.writer(file).writerows([["file", "label", "split"], [name, "1", "train"]])
        return path
    path = folder / "metadata.yaml"
    section = {"table": name} if kind == "table of metadata" else {}
    content = {"train": section or {"samples": [{"image_path": name, "label": "1"}]}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


KINDS = ["table", "samples", "table of metadata"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        *("../secret.png", "/etc/hostname", "a/../../secret.png", "..\\secret.png", "~/secret.png"),
        *("link.png", "folder/secret.png", "x" * 300 + ".png", "a\0b.png", "\u202egnp.a", "."),
    ],
    ids=repr,
)
def test_no_name_in_a_data_set_leads_out_of_it(tmp_path, monkeypatch, kind, name):
    from PIL import Image

    data = tmp_path / "data"
    data.mkdir()
    Image.new("L", (128, 64)).save(tmp_path / "secret.png")
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    (data / "folder").symlink_to(tmp_path)
    monkeypatch.chdir(data)
    with pytest.raises(RaytuneOCRError):
        load_split(named(data, kind, name))


@given(
    kind=st.sampled_from(KINDS),
    parts=st.lists(
        st.sampled_from(["..", "/", "\\", ".", "~", "secret.png", "\u202e", "%2e%2e", "\0", " "])
        | st.text(max_size=3),
        max_size=8,
    ),
)
def test_no_name_put_together_from_anything_leads_out_of_it_either(tmp_path_factory, kind, parts):
    folder = tmp_path_factory.getbasetemp() / "names"
    (folder / "data").mkdir(parents=True, exist_ok=True)
    with pytest.raises(RaytuneOCRError):
        load_split(named(folder / "data", kind, "".join(parts)))


RUN = {"run": {"timestamp": "t", "results_file": "r.json", "grace_period": 2, "warm_start": ["a"]}}
ROW = {"epoch": 1, "train_loss": 0.5, "seconds": 1.0, "val_char_accuracy": 0.5}
ROW["val_seq_accuracy"] = 0.4
HEIR = {"name": "a_g1", "parent": "a", "instead_of": "a", "settings": {"learning_rate": 1e-4}}
CLONE = {"parent": "a", "replaces": "a", "settings": {"learning_rate": 1e-4}}
CLONED = {"scheduler": "pbt", "trial": "a_g1", "epoch": 2, "decision": "EXPLOIT", "state": CLONE}
HALVED = {"scheduler": "halving", "trial": "a", "epoch": 1, "decision": "STOP"}
SPACE = read_space({"experiments": {"a": {}}})
SETTINGS = {"fingerprint": fingerprint(TrialRecord(SPACE.configs["a"]))}
LINES = (
    RUN,
    {"trial": "a", "status": "completed", "rows": [ROW], **SETTINGS},
    {"trial": "a", "status": "running", "rows": [ROW], "used": {"threads": 1}, **SETTINGS},
    {"trial": "a", "status": "pending", "rows": [], "search": "", "sampled": {}, **SETTINGS},
    {"decisions": [CLONED]},
    {"decisions": [{**HALVED, "state": {"left": 2}}]},
    {"decisions": [{**HALVED, "scheduler": "asha", "state": {"score": 0.5}}]},
    {"rung": {"trial": "a", "epoch": 1, "score": None, "stopped": True}},
    {"median": {"trial": "a", "epoch": 1}},
    {"held_out": {"trial": "a", "figures": {}}},
    {"generation": {"epoch": 2, "heirs": [HEIR]}},
    {"halving": {"epoch": 1, "ends": ["a"], "left": 2}},
)
HALF_A_ROW = {name: value for name, value in ROW.items() if name != "val_seq_accuracy"}
HALF_READ = {"trial": "a", "status": "completed", "rows": [HALF_A_ROW], **SETTINGS}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)


@st.composite
def damaged_line(draw):
    """A line of a state with one of its parts, on any level, taken out or replaced."""
    line = json.loads(json.dumps(draw(st.sampled_from(LINES))))
    part = line
    while True:
        name = draw(st.sampled_from(sorted(part)))
        inner = part[name][0] if isinstance(part[name], list) and part[name] else part[name]
        if not isinstance(inner, dict) or not inner or draw(st.booleans()):
            break
        part = inner
    if draw(st.booleans()):
        del part[name]
    else:
        part[name] = draw(ANY_JSON)
    return json.dumps(line)


def taken_up(folder):
    """Resume the run in a folder by each scheduler, up to the moment when trials would start."""
    about = Journal(folder).read().about
    chosen_options({"resume": True}, earlier=about)
    content = Journal(folder).path.read_bytes()
    for scheduler in SCHEDULERS.names():
        Journal(folder).path.write_bytes(content)
        options = TuneOptions(scheduler=scheduler, grace_period=1, reduction_factor=2)
        run = Run(folder, options, RunCopy(None, folder), "t", folder / "r.json")
        run.start(SPACE, KnownPoints(), resuming=True)
        run.save_state()
        run.next_trial()
        run.save_results()
        run.journal.close()


@given(
    content=st.lists(
        st.sampled_from(LINES).map(json.dumps)
        | damaged_line()
        | ANY_JSON.map(json.dumps)
        | st.text(max_size=12),
        max_size=5,
    ).map(lambda lines: "\n".join(lines).encode(errors="surrogatepass"))
    | st.binary(max_size=60)
)
@example(content=b"")
@example(content=b'{"decisions": null}')
@example(content=json.dumps(RUN).encode() + b"\n" + json.dumps(HALF_READ).encode())
def test_whatever_a_runs_state_holds_only_own_errors_are_raised(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp()
    Journal(folder).path.write_bytes(content)
    try:
        taken_up(folder)
    except RaytuneOCRError as error:
        assert str(folder) in str(error) or "run_state.jsonl: " in str(error)


WHOLE = {
    "f.yaml": (
        lambda path: read_space(load_yaml(path), "f.yaml"),
        b"experiments:\n  a: {model: {name: small}, training: {learning_rate: 1e-3}}\n"
        b"  b: {num_samples: 2, training: {batch_size: {choice: [8, 16]}, changes: []}}\n",
    ),
    "f.json": (
        load_results,
        b'{"all_results": [{"experiment_name": "a", "best_val_char_accuracy": 0.5, '
        b'"hyperparameters": {"learning_rate": 0.1}}], "best_result": null}',
    ),
    "f.csv": (load_split, b"file,label,split\nf.png,12,train\n"),
    "metadata.yaml": (
        load_split,
        b"dataset_info: {seed: 1}\ntrain: {samples: [{image_path: f.png, label: '12'}]}\n",
    ),
}
"""By file its reader and a content that passes every step of it."""

CHANGES = st.lists(
    st.tuples(
        st.integers(0, 200),  # where, modulo the length
        st.integers(0, 12),  # how many bytes go
        st.sampled_from([b"", b"{", b"]", b":", b"\n", b"0", b"-1", b"null", b"\xff", b"\0", b"&a"])
        | st.binary(max_size=4),
    ),
    max_size=3,
)


def read_whole(folder, name, content):
    read, _ = WHOLE[name]
    Image.new("L", (128, 64), 200).save(folder / "f.png")
    (folder / name).write_bytes(content)
    return read(folder / name)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_to_be_damaged_is_read_while_it_is_whole(tmp_path, name):
    assert read_whole(tmp_path, name, WHOLE[name][1]) is not None


@given(name=st.sampled_from(sorted(WHOLE)), changes=CHANGES)
def test_whatever_happens_to_the_bytes_only_own_errors_are_raised(tmp_path_factory, name, changes):
    folder = tmp_path_factory.getbasetemp() / "damaged"
    folder.mkdir(exist_ok=True)
    content = WHOLE[name][1]
    for start, gone, new in changes:
        start %= len(content) + 1
        content = content[:start] + new + content[start + gone :]
    with suppress(RaytuneOCRError):
        read_whole(folder, name, content)


@given(
    rows=st.lists(
        st.dictionaries(
            st.sampled_from(["file", "label", "split", "image_path"]),
            st.text(max_size=12) | st.integers() | st.none() | st.lists(st.integers(), max_size=2),
            max_size=4,
        ),
        max_size=4,
    )
)
def test_whatever_the_samples_only_own_errors_are_raised(tmp_path_factory, rows):
    import yaml

    path = tmp_path_factory.getbasetemp() / "samples.yaml"
    path.write_text(yaml.safe_dump({"train": {"samples": rows}}), encoding="utf-8")
    with pytest.raises(RaytuneOCRError):
        load_split(path)
