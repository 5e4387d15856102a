import json
import struct

import pandas as pd
import pytest

from raytune_ocr.tune import load_results

BLOCK, HEADER = 32768, 7  # bytes, of the log that Weights & Biases writes offline


def offline_records(path):
    """What would have been sent: parts that begin with checksum, length and place in the whole."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, whole = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(content):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, size, place = struct.unpack("<IHB", content[at : at + HEADER])
        whole += content[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if place in (1, 4):  # all of it, or its last part
            yield Record.FromString(whole)
            whole = b""


def offline_run(path):
    """Its name, settings, accuracies by step, artifacts, and whether it was ended."""
    name, settings, found, files, ended = "", {}, {}, [], False
    for record in offline_records(path):
        if record.HasField("run"):
            name = record.run.display_name
            settings = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("history"):
            items = {item.key or item.nested_key[0]: item for item in record.history.item}
            step = record.history.step.num
            found[step] = json.loads(items["val_char_accuracy"].value_json)
        if record.HasField("artifact"):
            files.append((record.artifact.type, record.artifact.name))
        ended |= record.HasField("exit")
    return name, settings, found, files, ended


@pytest.mark.slow
def test_wandb_has_a_run_for_each_trial_also_of_a_population(stored_population):
    output = stored_population
    runs = [offline_run(path) for path in output.glob("wandb/offline-run-*/run-*.wandb")]
    trials = load_results(output).set_index("experiment_name").fillna({"parent_epoch": 0})
    epochs = pd.read_csv(output / "epochs.csv")
    (sent,) = [run for run in runs if run[3]]
    runs.remove(sent)
    assert sent[0] == trials.index[0]  # the winner
    assert {kind for kind, _ in sent[3]} == {"model", "report"}
    assert len(trials) == 5 and sorted(name for name, *_ in runs) == sorted(trials.index)
    for name, settings, found, _, ended in runs:
        assert ended
        assert (settings["optimizer_type"], settings["batch_size"]) == ("adam", 16)
        mine = epochs[epochs["experiment_name"] == name].set_index("epoch")["val_char_accuracy"]
        first = 2 if trials.loc[name, "parent_epoch"] == 2 else 1
        assert found == pytest.approx(mine.loc[first:].to_dict())
