"""Valid files with parts changed: each is read, or refused with an error that names the file."""

import copy

import yaml
from hypothesis import given
from hypothesis import strategies as st

from raytune_ocr.config.settings import ABOUT, PATHS, SECTIONS
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.tune.options import TUNING
from raytune_ocr.tune.space.domains import KINDS
from raytune_ocr.tune.space.search_space import load_space
from raytune_ocr.tune.space.shipped_spaces import shipped_spaces

TEXTS = {name: path.read_text(encoding="utf-8") for name, path in shipped_spaces().items()}
CONTENTS = {name: load_yaml(path) for name, path in shipped_spaces().items()}

NAMES = sorted(
    {"experiments", "targets", "tuning", "when", "num_samples", "resources", "imports", "memory"}
    | {*SECTIONS, *ABOUT, *PATHS, *TUNING, *KINDS}
    | {key for keys in SECTIONS.values() for key in keys}
)
NUMBERS = (
    st.sampled_from([0, 1, -1, 3, 0.5, 1e-3, 10**18, 10**400, -(10**400), 1.7e308, 5e-324, 2**31])
    | st.floats()
)
SCALARS = (
    st.none() | st.booleans() | NUMBERS | st.sampled_from(NAMES) | st.text(max_size=4) | st.dates()
)
LEAVES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | SCALARS, inner, max_size=3)
        | st.builds(lambda kind, values: {kind: values}, st.sampled_from(KINDS), st.lists(inner))
        | st.builds(
            lambda kind, bounds, when: {kind: bounds, "when": when},
            st.sampled_from(KINDS),
            st.lists(NUMBERS, min_size=2, max_size=3),
            st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
        )
    ),
    max_leaves=6,
)
TAGS = ["!!bool ", "!!set ", "!!timestamp ", "!!python/tuple ", "*", "&a ", "*a", "<<: ", "? "]
TOKENS = st.sampled_from([*TAGS, *"[]{}:|>\t\n\"'#\0\u2028%", "- ", "---\n"])


def containers(content):
    """Every mapping and list of a document that is not empty."""
    found = [content] if isinstance(content, (dict, list)) and content else []
    inner = content.values() if isinstance(content, dict) else content
    parts = [part for part in inner if isinstance(part, (dict, list))]
    return found + [one for part in parts for one in containers(part)]


@st.composite
def changed_documents(draw):
    """A shipped space with one to three parts replaced, removed, renamed or added."""
    content = copy.deepcopy(CONTENTS[draw(st.sampled_from(sorted(CONTENTS)))])
    for _ in range(draw(st.integers(1, 3))):
        there = containers(content)
        if not there:
            break
        place = draw(st.sampled_from(there))
        key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        change = draw(st.sampled_from(["replace", "remove", "rename", "add"]))
        if change == "remove":
            del place[key]
        elif change == "rename" and isinstance(place, dict):
            place[draw(st.sampled_from(NAMES) | SCALARS)] = place.pop(key)
        elif change == "add" and isinstance(place, dict):
            place[draw(st.sampled_from(NAMES))] = draw(LEAVES)
        else:
            place[key] = draw(LEAVES)
    return yaml.dump(content, sort_keys=False)


@st.composite
def changed_texts(draw):
    """The text of a shipped space with one to three pieces cut out or put in."""
    text = TEXTS[draw(st.sampled_from(sorted(TEXTS)))]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 12))
        text = text[:at] + draw(TOKENS | st.text(max_size=3)) + text[at + cut :]
    return text


@given(text=changed_documents() | changed_texts())
def test_a_changed_space_is_read_or_refused_with_an_error_that_names_it(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "changed.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_space(path)
    except RaytuneOCRError as error:
        assert "changed.yaml: " in str(error)
        assert len(str(error)) < 100_000
