import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from raytune_ocr.tune import load_results


def events(folder):
    read = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    read.Reload()
    return read


@pytest.mark.slow
def test_every_trial_shows_scalars_all_settings_and_what_it_reads(confirmed_run):
    stops = load_results(confirmed_run).set_index("experiment_name")["stop_reason"]
    assert "scheduler" in set(stops)  # one that was stopped is no exception
    confirming = [path.name for path in confirmed_run.glob("*-seed10?")]
    assert len(confirming) == 4
    for name in [*stops.index, *confirming]:
        seen = events(confirmed_run / name)
        assert {"train_loss", "val_char_accuracy", "learning_rate"} <= set(seen.Tags()["scalars"])
        found = seen.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        settings = HParamsPluginData.FromString(found).session_start_info.hparams
        assert settings["batch_size"].number_value in (16, 96)
        assert settings["optimizer_type"].string_value == "adam"  # a constant, nowhere set
        picture = seen.Images("predictions")[-1]
        assert picture.width > 400 and picture.height > 400
