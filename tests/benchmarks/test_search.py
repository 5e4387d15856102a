import json

import numpy as np
import pytest

from benchmarks import search
from benchmarks.support.peers import PEERS


def runs(*regrets, kinds=None):
    count = len(regrets)
    table = np.array([np.full(1001, regret) for regret in regrets])
    names = np.array(kinds or ["a"] * count)
    return search.Runs(table, names, np.full(count, 0.1), np.full(count, 50))


def test_figures_have_means_standard_errors_and_the_share_that_found_it():
    found = search.figures(runs(0.0, 0.2), goal=0.1)
    assert found["regret"] == {"100": 0.1, "200": 0.1, "500": 0.1, "1000": 0.1}
    assert found["se"]["1000"] == pytest.approx(0.1)
    assert (found["share"], found["epochs_to"], found["cpu_ms"]) == (0.5, 0, 2.0)


def test_epochs_are_counted_to_what_asha_reached():
    found = search.all_figures({"asha": runs(0.1), "other": runs(0.3)})
    assert (found["asha"]["epochs_to"], found["other"]["epochs_to"]) == (0, None)


def test_kinds_are_counted_each_and_together():
    document = search.document({"workers=1": {"asha": runs(0.1, 0.3, kinds=["a", "b"])}})
    assert document["methods"]["asha"]["regret"]["100"] == 0.2
    of_kinds = document["conditions"]["workers=1"]["kinds"]
    assert [of_kinds[kind]["methods"]["asha"]["regret"]["100"] for kind in "ab"] == [0.1, 0.3]


def test_the_command_prints_a_table_and_writes_the_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(search, "TASKS", 1)
    missing = PEERS["optuna-tpe"]._replace(package="not_there")
    monkeypatch.setitem(search.PEERS, "optuna-tpe", missing)
    file, picture = tmp_path / "search.json", tmp_path / "search.png"
    command = "--kinds diverging --methods asha optuna-tpe --seeds 1 --budget 100 --workers 1 2"
    assert search.main([*command.split(), "--json", str(file), "--plot", str(picture)]) == 0
    printed = capsys.readouterr()
    assert "workers=2, diverging: mean regret" in printed.out
    assert printed.err == "optuna-tpe: skipped, not_there is not installed\n"
    found = json.loads(file.read_text(encoding="utf-8"))["methods"]["asha"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert set(found) == {"regret", "se", "share", "epochs_to", "cpu_ms"}


def test_an_unknown_method_is_an_error_in_one_line(capsys):
    assert search.main(["--methods", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
