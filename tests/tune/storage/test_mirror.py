import time

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.storage.mirror import Mirror, RunCopy, keep_state, newest_state
from raytune_ocr.tune.storage.storage import Storage
from tests.fixtures.storages import stand_in


@pytest.fixture(params=["folder", "file://", "pyarrow"])
def storage(request, tmp_path):
    """The same places under three kinds of names."""
    (tmp_path / "bucket").mkdir()
    place = str(tmp_path / "bucket" / "run")
    kinds = {"folder": place, "file://": f"file://{place}", "pyarrow": stand_in(tmp_path)}
    return Storage.at(kinds[request.param])


def test_what_is_pushed_is_pulled_elsewhere_the_newest_state_still_the_newest(storage, tmp_path):
    here, there = tmp_path / "here" / "t", tmp_path / "there" / "t"
    mirror = Mirror(storage, here, "t")
    for epoch in (1, 2, 3):
        state = tmp_path / "state"
        state.mkdir(exist_ok=True)
        (state / "state.pt").write_text(str(epoch))
        keep_state(here, str(state), epoch)
        mirror.push()
        time.sleep(0.01)
    assert sorted(name.split("/")[1] for name in storage.files("t")) == [
        "checkpoint_000002",
        "checkpoint_000003",
    ]
    Mirror(storage, there, "t").pull()
    times = {path.parent.name: path.stat().st_mtime_ns for path in there.rglob("state.pt")}
    assert max(times, key=times.__getitem__) == "checkpoint_000003"
    assert newest_state(there) is None  # they are no real states, and passed over


def test_only_what_changed_is_copied_again(storage, tmp_path):
    (tmp_path / "here").mkdir()
    for name in ("a.csv", "b.csv", ".hidden", "ray.log", "run.lock"):
        (tmp_path / "here" / name).write_text(name)
    mirror = Mirror(storage, tmp_path / "here")
    mirror.push()
    before = storage.files()
    assert sorted(before) == ["a.csv", "b.csv"]
    time.sleep(0.01)
    (tmp_path / "here" / "a.csv").write_text("changed")
    mirror.push()
    after = storage.files()
    assert after["b.csv"] == before["b.csv"] and after["a.csv"] != before["a.csv"]
    assert storage.read("a.csv") == b"changed"
    assert not list((tmp_path / "bucket").rglob("*.part"))


def test_a_run_without_a_storage_copies_nothing(tmp_path):
    copy = RunCopy(None, tmp_path)
    copy.pull()
    copy.push(now=True)
    copy.pull_trial("a")
    copy.prune("a")
    copy.remove("a")
    assert not list(tmp_path.iterdir())


def test_a_storage_that_is_the_output_folder_or_holds_it_is_refused_with_the_way_out(tmp_path):
    output = tmp_path / "runs" / "out"
    output.mkdir(parents=True)
    (tmp_path / "link").symlink_to(output)
    for place in (output, f"file://{output}", f"{output}/../out/", tmp_path / "link", tmp_path):
        with pytest.raises(
            ConfigurationError, match="neither is nor contains --output-dir"
        ) as caught:
            RunCopy(Storage.at(place), output)
        printed = str(caught.value)
        assert str(place) in printed and str(output) in printed and "leave --storage out" in printed
    for place in (output / "kept", tmp_path / "runs" / "other", f"{output}2"):
        RunCopy(Storage.at(place), output)
    RunCopy(stand_in(tmp_path), output)


def test_names_in_a_storage_cannot_leave_the_folder(tmp_path):
    """In an object store `..` is a name like any other."""

    class Hostile(Storage):
        def files(self, under=""):
            return {"t/../../escaped": (1, 1), "t/good": (1, 1)}

        def fetch(self, name, target, mtime_ns=0):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(name)

    Mirror(Hostile(None, "bucket"), tmp_path / "a" / "b", "t").pull()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["good"]
