"""The arrows between modules point one way, and heavy libraries stay where they belong.

An import counts wherever it stands: at the top, in a function, under TYPE_CHECKING, as
`from package import module`, and in the table of names that a package loads lazily.
"""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import raytune_ocr

PACKAGE = Path(raytune_ocr.__file__).parent
ROOMS = (
    ("errors", "files", "lazy", "progress", "text", "version", "vocabulary"),
    ("cli", "config", "plots", "plugins", "statistics"),
    ("data", "models"),
    ("training",),
    ("tasks",),
    ("results",),
    ("inference",),
    ("dashboard",),
    ("report", "tune"),
    ("analyze", "export", "generate", "predict", "steer", "train"),
)
"""From the lowest to the highest; an arrow goes down, or to a room of plain helpers beside it."""
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
COMMANDS = (*ROOMS[-1], "cli", "tune.__main__", "dashboard.__main__")


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FACES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


@cache
def tree_of(module):
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def offered(face):
    """The names that a package passes on, and the module that each comes from."""
    found = {}
    for node in ast.walk(tree_of(face)):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.List):
                    found |= {name.value: key.value for name in value.elts}
    return found


def home_of(module, name):
    """The module that a name really comes from, through any number of faces."""
    if f"{module}.{name}" in MODULES:
        return f"{module}.{name}"
    while module in FACES and name in offered(module):
        module = offered(module)[name]
    return module


@cache
def imported(module):
    """Every module that a module imports, this package's own by their homes."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found |= {home_of(node.module, alias.name) for alias in node.names}
    return found


def arrows():
    """From each module that is no face to the modules of this package that it imports."""
    plain = [module for module in MODULES if module not in FACES]
    return {a: {b for b in imported(a) if b in MODULES and b != a} for a in plain}


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def circle_in(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return ""


def test_every_room_has_its_level():
    assert len(MODULES) > 100
    assert {room_of(module) for module in MODULES} - {""} == set(LEVEL)


def test_no_arrow_points_up():
    up = [
        f"{a} -> {b}"
        for a, others in arrows().items()
        for b in others
        if LEVEL[room_of(a)] < LEVEL[room_of(b)]
    ]
    assert not up


def test_modules_import_each_other_in_no_circle():
    assert not circle_in(arrows())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_rooms_import_each_other_in_no_circle(depth):
    """Rooms of one depth: `raytune_ocr.tune`, then `raytune_ocr.tune.search` and so on."""
    graph = {}
    for a, others in arrows().items():
        for b in others:
            first, second = (".".join(name.split(".")[: depth + 1]) for name in (a, b))
            if first != second and first.rpartition(".")[0] == second.rpartition(".")[0]:
                graph.setdefault(first, set()).add(second)
    assert not circle_in(graph)


def test_ray_comes_in_under_tune_only():
    users = {m for m in MODULES if any(i.split(".")[0] == "ray" for i in imported(m))}
    assert users
    assert {room_of(module) for module in users} == {"tune"}


@pytest.mark.parametrize("room", ["schedulers", "search", "space"])
def test_what_decides_knows_neither_ray_nor_the_clock_nor_how_trials_run(room):
    unknown = ("ray", "time", "datetime", "raytune_ocr.tune.execution", "raytune_ocr.tune.cluster")
    deciding = [m for m in MODULES if m.startswith(f"raytune_ocr.tune.{room}.")]
    assert len(deciding) > 5
    for module in deciding:
        known = [
            name for name in imported(module) for no in unknown if f"{name}.".startswith(f"{no}.")
        ]
        assert not known, f"{module} imports {known}"


def test_private_modules_of_ray_are_imported_in_one_file_only():
    private = (
        *("ray._private", "ray.air._internal", "ray.train._internal"),
        *("ray.tune.execution", "ray.tune.experiment"),
    )
    users = {m for m in MODULES if any(i.startswith(private) for i in imported(m))}
    assert users == {"raytune_ocr.tune.cluster.ray_patches"}


def test_private_fields_of_ray_are_used_in_one_file_only():
    words = (
        *("temporary_state", "run_metadata", "experiment_driver_staging_path"),
        *("_trial_runs", "_logger_actor", "_WandbLoggingActor"),
    )
    users = {m for m, path in MODULES.items() if any(w in path.read_text("utf-8") for w in words)}
    assert users == {"raytune_ocr.tune.cluster.ray_patches"}


def test_pandas_stays_above_the_training():
    users = [module for module in MODULES if "pandas" in imported(module)]
    assert users
    assert [m for m in users if LEVEL[room_of(m)] < LEVEL["tasks"]] == []


def test_matplotlib_is_imported_in_one_file_only():
    drawing = [m for m in MODULES if any("matplotlib" in name for name in imported(m))]
    assert drawing == ["raytune_ocr.plots"]


def test_results_and_tune_know_no_digits():
    rooms = {
        module: path for module, path in MODULES.items() if room_of(module) in ("results", "tune")
    }
    assert {room_of(module) for module in rooms} == {"results", "tune"}
    for module, path in rooms.items():
        text = path.read_text(encoding="utf-8")
        words = [word for word in ("char_accuracy", "KHMER_DIGITS") if word in text]
        assert not words, f"{module}: {words}"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_line_answers_help_without_heavy_imports(command):
    code = (
        f"import sys\nfrom raytune_ocr.{command} import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


def test_there_is_exactly_one_training_loop():
    training = [p.name for p in MODULES.values() if ".backward()" in p.read_text("utf-8")]
    assert training == ["trainer.py"]
