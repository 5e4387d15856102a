"""What README, docs and the other pages show is what there is."""

import ast
import builtins
import dataclasses
import importlib
import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest

from raytune_ocr import analyze, errors, export, generate, predict, steer, train
from raytune_ocr.config.settings import PATHS
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.dashboard import __main__ as dashboard
from raytune_ocr.data import DatasetRegistry
from raytune_ocr.models import ModelRegistry
from raytune_ocr.results.aggregate import trials_table
from raytune_ocr.results.analysis import read_epochs
from raytune_ocr.results.cost import COST_COLUMNS
from raytune_ocr.results.document import result_of, results_document, write_json
from raytune_ocr.results.record import EPOCHS_TABLE, RUN_COLUMNS, TrialRecord
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tasks.base import HYPERPARAMETERS
from raytune_ocr.tasks.registry import all_tasks, target_keys, task_of
from raytune_ocr.training.loop_settings import LoopSettings
from raytune_ocr.tune import load_results
from raytune_ocr.tune.cli import parser as tune
from raytune_ocr.tune.cli import status
from raytune_ocr.tune.selection.confirmation import confirmation
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.pages import (
    PAGES,
    REPOSITORY,
    anchors,
    blocks,
    commands,
    inline_commands,
    links,
    marked_block,
    name_of,
)

PARSERS = {
    f"raytune_ocr.{module.__name__.split('.')[1]}": module.build_parser
    for module in (tune, train, generate, predict, analyze, steer, dashboard, export)
}
RESULTS_PAGE = REPOSITORY / "docs" / "reference" / "results.md"
GENERATED = ("commands", "documents")
UNITS = {
    "ended_at": "s",
    **dict.fromkeys(("seconds", "training_time", "train_time_per_epoch"), "s"),
    **dict.fromkeys(("memory_mb", "gpu_memory_mb"), "MiB"),
    "images_per_second": "1/s",
    "cpu_percent": "%",
    **dict.fromkeys(("cpu_kwh", "gpu_kwh"), "kWh"),
    **dict.fromkeys(("cpu_hours", "gpu_hours", "saved_cpu_hours", "saved_gpu_hours"), "h"),
}
MY_MODELS = "my_models"
DOCUMENTS = runpy.run_path(str(REPOSITORY / "scripts" / "write_documents_reference.py"))
SECTIONS = DOCUMENTS["documents"]()
NAMES = [
    pytest.param(section, name, id=f"{section['from']}.{name}")
    for section in SECTIONS
    for name in section.get("names", ())
]


def those_with(find):
    """The pages on which `find` finds something, as parameters of a test."""
    chosen = [page for page in PAGES if list(find(page))]
    assert chosen
    return pytest.mark.parametrize("page", chosen, ids=name_of)


def own_command(words):
    """The module after `python -m`, if it is one of this repository, and its arguments."""
    for number, word in enumerate(words):
        if word == "-m" and words[number + 1].split(".")[0] in ("raytune_ocr", "benchmarks"):
            return words[number + 1], words[number + 2 :]
    return None


def parser_of(module, arguments):
    """The parser of a command, and the arguments that it takes."""
    if (module, *arguments[:1]) == ("raytune_ocr.tune", "status"):
        return status.build_parser(), arguments[1:]
    return PARSERS[module](), arguments


def own_commands(page):
    return list(filter(None, map(own_command, commands(page))))


@those_with(own_commands)
def test_every_command_of_a_page_parses(page):
    for module, arguments in own_commands(page):
        if module in PARSERS:
            parser, rest = parser_of(module, arguments)
            parser.parse_args(rest)
        else:
            assert (REPOSITORY / f"{module.replace('.', '/')}.py").is_file(), module


@those_with(inline_commands)
def test_every_command_in_a_sentence_has_options_that_exist(page):
    for words in inline_commands(page):
        module, arguments = own_command(words)
        options = [word for word in arguments if word.startswith("--")]
        if module in PARSERS:
            parser, _ = parser_of(module, arguments)
            assert set(options) <= set(parser._option_string_actions), words
        else:
            source = (REPOSITORY / f"{module.replace('.', '/')}.py").read_text("utf-8")
            assert all(f'"{option}"' in source for option in options), words


def python_scripts(page):
    return [words[1] for words in commands(page) if words[0] == "python" and words[1] != "-m"]


@those_with(python_scripts)
def test_every_script_that_a_page_runs_is_there(page):
    for script in python_scripts(page):
        assert (REPOSITORY / script).is_file() or (page.parent / script).is_file(), script


@those_with(links)
def test_every_link_of_a_page_leads_somewhere(page):
    for target in links(page):
        file, _, anchor = target.partition("#")
        there = page.parent / file if file else page
        assert there.exists(), f"{target} on {name_of(page)}"
        assert not anchor or anchor in anchors(there), f"{target} on {name_of(page)}"


@pytest.fixture
def my_models(tmp_path, monkeypatch):
    """Makes a module of the page's Python blocks that register something."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ModelRegistry, "_factories", dict(ModelRegistry._factories))
    monkeypatch.setattr(DatasetRegistry, "_factories", dict(DatasetRegistry._factories))

    def write(page):
        code = [text for text in blocks(page, "python") if "Registry.register(" in text]
        (tmp_path / f"{MY_MODELS}.py").write_text("\n".join(code), encoding="utf-8")

    yield write
    sys.modules.pop(MY_MODELS, None)


def experiments(page):
    return [text for text in blocks(page, "yaml") if "experiments:" in text]


@those_with(experiments)
def test_every_search_space_of_a_page_is_accepted(page, my_models, tmp_path):
    my_models(page)
    for text in experiments(page):
        (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
        assert read_space(load_yaml(tmp_path / "space.yaml")).experiments


@those_with(lambda page: blocks(page, "python"))
def test_every_python_block_of_a_page_compiles_and_its_imports_work(page):
    for text in blocks(page, "python"):
        found = [
            node
            for node in ast.parse(text, name_of(page)).body
            if isinstance(node, (ast.Import, ast.ImportFrom))
        ]
        exec(compile(ast.Module(found, []), name_of(page), "exec"), {})


def test_the_registered_classes_of_the_guide_train(my_models):
    from raytune_ocr.training import Trainer

    my_models(REPOSITORY / "docs" / "guides" / "models.md")
    importlib.import_module(MY_MODELS)
    import torch

    data = DatasetRegistry.create("noise", size=8)
    model = ModelRegistry.create("two_layers", **data.model_arguments())
    loss = torch.nn.functional.cross_entropy
    trainer = Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), loss)
    history = trainer.train(data.get_dataloaders(batch_size=4)[0], num_epochs=1)
    assert len(history["train_loss"]) == 1


def test_the_guide_trains_any_pytorch_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = REPOSITORY / "docs" / "guides" / "training.md"
    (text,) = [text for text in blocks(page, "python") if "import Trainer" in text]
    found = {}
    exec(text, found)
    assert len(found["history"]["train_loss"]) == 2
    assert list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("mark", ["function", "task"])
def test_the_guide_tunes_a_task_of_ones_own(mark, tmp_path, monkeypatch):
    module, yaml = {"function": ("my_train", "yaml"), "task": ("my_task", "task yaml")}[mark]
    page = REPOSITORY / "docs" / "guides" / "own_task.md"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"{module}.py").write_text(marked_block(page, f"test: {mark}"), encoding="utf-8")
    (tmp_path / "my.yaml").write_text(marked_block(page, f"test: {yaml}"), encoding="utf-8")
    config = next(iter(read_space(load_yaml(tmp_path / "my.yaml")).configs.values()))
    task, rows = task_of(config), []
    config = dataclasses.replace(config, num_epochs=2, use_tensorboard=False)
    data = task.prepare(config, task.load(config, False))
    task.train(config, data, lambda row, folder: rows.append(row))
    sys.modules.pop(module, None)
    assert [row["epoch"] for row in rows] == [1, 2] and "val_mae" in rows[0]["reported"]


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_as_its_script_writes_it(name):
    script = f"scripts/write_{name}_reference.py"
    page = REPOSITORY / "docs" / "reference" / f"{name}.md"
    written = runpy.run_path(str(REPOSITORY / script))["page"]()
    assert page.read_text("utf-8") == written, f"out of date: run python {script}"


@pytest.mark.parametrize(("section", "name"), NAMES)
def test_every_name_of_the_documents_is_there(section, name):
    thing, entry = DOCUMENTS["found"](section, name), section["names"][name]
    if "parameters" in entry:
        named = inspect.signature(thing).parameters.values()
        any_keyword = any(each.kind is each.VAR_KEYWORD for each in named)
        missing = set(entry["parameters"]) - {each.name for each in named}
        assert any_keyword or not missing, missing
    for member in entry.get("members", ()):
        check_member(thing, *DOCUMENTS["taken_apart"](member), "(" in member)
    for member, keys in entry.get("keys", {}).items():
        method = getattr(thing, member)
        text = f"{inspect.getdoc(method)}{inspect.getsource(method)}"
        assert [key for key in keys if not re.search(rf"[`\"']{key}[`\"']", text)] == [], member


def check_member(thing, name, parameters, is_method):
    """A method takes the documented parameters by their names; anything else is an attribute."""
    if not is_method:
        assert has_member(thing, name), name
        return
    named = inspect.signature(getattr(thing, name)).parameters.values()
    any_keyword = any(each.kind is each.VAR_KEYWORD for each in named)
    missing = set(parameters) - {each.name for each in named}
    assert any_keyword or not missing, f"{name}: {missing}"


def has_member(thing, name):
    """Whether a class has the attribute, or sets it in one of its methods."""
    own = [each for each in thing.__mro__ if each.__module__.startswith("raytune_ocr")]
    return hasattr(thing, name) or any(f"self.{name}" in inspect.getsource(each) for each in own)


@pytest.mark.parametrize(
    "section", [s for s in SECTIONS if "command" in s], ids=lambda section: section["command"]
)
def test_every_option_of_the_documents_commands_is_there(section):
    parser = PARSERS[section["here"].removeprefix("python -m ")]()
    assert set(section["options"]) <= set(parser._option_string_actions)


def sections_with(part):
    return [section for section in SECTIONS if part in section]


@pytest.mark.parametrize("section", sections_with("places"), ids=lambda section: section["file"])
def test_every_key_of_a_documented_config_is_the_setting_that_the_page_names(section):
    module = importlib.import_module(section["here"])
    for key, place in section["places"].items():
        owner, _, setting = place.partition(".")
        assert setting in {each.name for each in dataclasses.fields(getattr(module, owner))}, key
        if owner == "LoopSettings":
            value = {"weight_decay": 0.5, "max_grad_norm": 0.5}.get(setting, True)
            read = LoopSettings.of({"training": {key.removeprefix("training."): value}})
            assert getattr(read, setting) == value, key
        else:
            assert PATHS.get(key, key) == setting, key


def test_every_target_exception_and_module_of_the_documents_is_there():
    (targets,) = sections_with("targets")
    assert targets["targets"].items() <= target_keys().items()
    (exceptions,) = sections_with("errors")
    for builtin, names in exceptions["errors"].items():
        assert all(issubclass(getattr(errors, n), getattr(builtins, builtin)) for n in names)
    (modules,) = sections_with("modules")
    for names in modules["modules"].values():
        assert [importlib.import_module(f"raytune_ocr.{name}") for name in names]


def test_every_documented_key_of_the_json_is_written(record):
    (section,) = sections_with("document")
    document = results_document([record], {}, "20260101_000000")
    (result,) = document["all_results"]
    assert set(section["document"]) <= set(document)
    assert set(section["result"]) <= set(result)
    assert set(section["hyperparameters"]) <= set(result["hyperparameters"])


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A failed copy of a searched trial that ran out of memory: it has every optional key."""
    config = TrainingConfig(output_dir=str(tmp_path_factory.mktemp("out")))
    record = TrialRecord(config, search="reader", sampled={"learning_rate": 1e-3})
    record.parent, record.parent_epoch = "reader_0001", 1
    for epoch in (1, 2):
        row = dict.fromkeys((*record.task.columns, *RUN_COLUMNS), 0.5)
        row |= {"epoch": epoch, "batch_size": 16, "threads": 1, "accumulation_used": 2}
        row |= {"model_parameters": 1000}
        record.add({**row, "batch_size_used": 16})
    record.fail("diverged", "nan")
    return record


def documented(title):
    """The names in the first column of the table below a heading, and the second column."""
    text = RESULTS_PAGE.read_text("utf-8").split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`.*?) \| ([^|]*) \|", text, re.MULTILINE)
    return {name: kind.strip() for names, kind in rows for name in re.findall(r"`(\w+)`", names)}


def test_the_page_of_results_lists_every_key_of_the_json(record):
    document = results_document([record], {"character_accuracy": 0.9}, "20260101_000000")
    assert set(document) <= set(documented("The JSON"))
    page = RESULTS_PAGE.read_text("utf-8")
    keys = {*document["environment"], *document["all_results"][0]["hyperparameters"]}
    assert [key for key in sorted(keys) if f"`{key}`" not in page] == []


def test_the_page_of_results_lists_every_key_of_a_result(record):
    figures = {key for task in all_tasks() for key in task.figures}
    assert set(documented("A result")) == figures | set(result_of(record)) | {*COST_COLUMNS}


def test_the_page_of_results_lists_the_keys_of_a_confirmation(record):
    seeds = [
        TrialRecord(dataclasses.replace(record.config, seed=seed), confirms=record.name)
        for seed in (101, 102)
    ]
    for each in seeds:
        each.add({"epoch": 1, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.5, "seconds": 1.0})
        each.complete("max_epochs")
    assert set(documented("confirmation")) == set(confirmation([record, *seeds], {}))


def test_the_page_of_results_lists_every_column_of_an_epoch_with_its_dtype(record):
    listed = documented("epochs.csv")
    reported = {name for task in all_tasks() for name in task.columns}
    assert set(listed) == {"experiment_name", "epoch", *reported, *RUN_COLUMNS}
    write_tables(Path(record.config.output_dir), [record], {})
    table = read_epochs(Path(record.config.output_dir) / EPOCHS_TABLE)
    kinds = {name: str(kind).replace("object", "str") for name, kind in table.dtypes.items()}
    assert kinds == {name: listed[name] for name in kinds}


def test_the_page_of_results_lists_every_column_of_the_trials_with_its_dtype(record, tmp_path):
    listed = documented("trials.csv and load_results")
    done = TrialRecord(
        TrainingConfig(output_dir=str(tmp_path)), status="completed", stop_reason="max_epochs"
    )
    done.add({**record.epochs[0], "model_parameters": 10})
    write_json(tmp_path / "results.json", results_document([done, record], {}, "now"))
    for table in (trials_table([done, record]), load_results(tmp_path)):
        kinds = {name: str(kind).replace("object", "str") for name, kind in table.dtypes.items()}
        not_figures = {*HYPERPARAMETERS, "confirms"}
        others = {name: kind for name, kind in kinds.items() if name not in not_figures}
        assert others == {name: listed[name] for name in others}
        classifiers = {name for name in listed if name.endswith("_accuracy")}
        optional = {"meets_TARGET", *HYPERPARAMETERS, *classifiers, *COST_COLUMNS}
        assert set(listed) - set(others) <= optional


def test_the_page_of_results_names_the_unit_of_every_column_that_has_one():
    page = RESULTS_PAGE.read_text("utf-8")
    rows = [line.split("|")[1:5] for line in page.splitlines() if "| float64 |" in line]
    units = {name: unit.strip() for names, _, unit, _ in rows for name in re.findall(r"\w+", names)}
    assert len(units) > 20
    for name, unit in units.items():
        expected = UNITS.get(name, "0 to 1" if name.endswith("_accuracy") else "")
        assert unit == expected, name


def test_the_documents_name_at_least_what_they_named_when_the_list_was_made():
    assert len(NAMES) > 50
    parts = [
        part
        for section in SECTIONS
        for entry in section.get("names", {}).values()
        for kind in ("parameters", "members", "keys")
        for part in entry.get(kind, ())
    ]
    assert len(parts) > 250
    assert len(sections_with("places")) == 2 and len(sections_with("places")[1]["places"]) >= 36
