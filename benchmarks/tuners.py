"""Five ways to train the same presets, each a process of its own that notes every epoch it trains.

    python -m benchmarks.tuners NAME FOLDER

`FOLDER/work.json` says what is to be trained; a line for each epoch goes to `FOLDER/epochs.jsonl`.
All train by `train_from_config`, so that only the tuning differs. `benchmarks.tuning` runs them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raytune_ocr.config.training_config import TrainingConfig

METRIC = "val_char_accuracy"


@dataclass(frozen=True)
class Job:
    """What is to be trained, and where the notes go.

    Attributes:
        experiments: names in `search_spaces/full.yaml`.
        data: a `metadata.yaml`, to validate on.
        samples: images composed an epoch.
        epochs: of every trial that nobody stops.
        grace: epochs before a trial may be stopped.
        cores: to use.
    """

    folder: str
    experiments: tuple[str, ...]
    data: str
    samples: int
    epochs: int
    grace: int
    cores: int

    @property
    def overrides(self) -> dict[str, Any]:
        """Fields set in every experiment; only schedulers end a trial early here."""
        return {
            "num_epochs": self.epochs,
            "metadata_path": self.data,
            "dataset_options": {"composed": self.samples},
            "early_stopping_patience": 0,
        }

    @property
    def notes(self) -> Path:
        """A line for each epoch trained."""
        return Path(self.folder, "epochs.jsonl")

    def configs(self) -> dict[str, TrainingConfig]:
        """Of every trial, by name."""
        from raytune_ocr.tune import load_space

        names = list(self.experiments)
        space = load_space(
            "full", overrides=self.overrides, names=names, output_dir=f"{self.folder}/runs"
        )
        return space.configs

    def note(self, name: str, accuracy: float) -> None:
        """One epoch of a trial; several processes may write."""
        line = json.dumps({"time": time.time(), "trial": name, METRIC: accuracy}) + "\n"
        with self.notes.open("a", encoding="utf-8") as file:
            file.write(line)

    def save(self) -> None:
        """Where `read` finds it."""
        Path(self.folder, "work.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: str) -> Job:
        """What `save` wrote."""
        content = json.loads(Path(folder, "work.json").read_text(encoding="utf-8"))
        return cls(**{**content, "experiments": tuple(content["experiments"])})


def train(job: Job, config: TrainingConfig, data: Any = None, after: Any = None) -> None:
    """Train one preset, a note each epoch; `after(loop, epoch, accuracy)` may set `should_stop`."""
    from raytune_ocr.training import train_from_config

    def on_epoch(loop: Any, epoch: int, metrics: dict[str, float]) -> None:
        job.note(config.experiment_name, metrics[METRIC])
        if after is not None:
            after(loop, epoch, metrics[METRIC])

    train_from_config(config, data, callbacks=[on_epoch])


def one_after_another(job: Job) -> None:
    """Every preset to its end on all cores, each reading the data again."""
    import torch

    torch.set_num_threads(job.cores)
    for config in job.configs().values():
        train(job, config)


def plain_ray_tune(job: Job) -> None:
    """Ray Tune as its guide has it: one core a trial, nobody stopped, each reads the data."""
    import ray
    from ray import tune

    def trainable(settings: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        config = job.configs()[settings["experiment_name"]]

        def report(loop: Any, epoch: int, accuracy: float) -> None:
            tune.report({METRIC: accuracy})

        train(job, config, after=report)

    ray.init(address="local", num_cpus=job.cores, include_dashboard=False, log_to_driver=False)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"experiment_name": tune.grid_search(list(job.experiments))},
        tune_config=tune.TuneConfig(metric=METRIC, mode="max"),
        run_config=tune.RunConfig(name="ray", storage_path=job.folder, verbose=0),
    ).fit()
    ray.shutdown()


def optuna_hyperband(job: Job) -> None:
    """Optuna with its Hyperband pruner: a process a core, each reads the data once."""
    import multiprocessing

    import optuna

    study = _study(job)
    for name in job.experiments:
        study.enqueue_trial({"experiment_name": name})
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_optuna_worker, args=(job,)) for _ in range(job.cores)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    failed = [t for t in study.trials if t.state == optuna.trial.TrialState.FAIL]
    if failed or any(worker.exitcode for worker in workers):
        raise RuntimeError(f"{len(failed)} of Optuna's trials failed")


def _study(job: Job) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name="presets",
        storage=optuna.storages.JournalStorage(JournalFileBackend(f"{job.folder}/optuna.log")),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=job.grace, max_resource=job.epochs, reduction_factor=3
        ),
    )


def _optuna_worker(job: Job) -> None:
    import optuna
    import torch

    from raytune_ocr.data import create_dataset

    torch.set_num_threads(1)
    configs = job.configs()
    data = create_dataset(next(iter(configs.values())))
    data.prepare()
    study = _study(job)

    def objective(trial: Any) -> float:
        name = trial.suggest_categorical("experiment_name", list(job.experiments))
        if trial.number >= len(job.experiments):  # two processes saw the last one waiting
            raise optuna.TrialPruned
        accuracies: list[float] = []
        pruned = False

        def tell(loop: Any, epoch: int, accuracy: float) -> None:
            nonlocal pruned
            accuracies.append(accuracy)
            trial.report(accuracy, epoch + 1)
            if trial.should_prune():
                pruned = loop.should_stop = True

        train(job, configs[name], data, tell)
        if pruned:
            raise optuna.TrialPruned
        return max(accuracies)

    while study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.WAITING]):
        study.optimize(objective, n_trials=1)


def this_project(job: Job) -> None:
    """`HyperparameterTuner` as the command runs it."""
    from raytune_ocr.tune import HyperparameterTuner

    tuner = HyperparameterTuner(
        "full",
        output_dir=f"{job.folder}/runs",
        results_file=f"{job.folder}/results.json",
        overrides=job.overrides,
        grace_period=job.grace,
        quiet=True,
    )
    report, seen = tuner.run.report, Counter[str]()

    def report_and_note(record: Any, result: Mapping[str, Any]) -> str:
        action = report(record, result)
        for row in record.epochs[seen[record.name] :]:
            job.note(record.name, row[METRIC])
        seen[record.name] = len(record.epochs)
        return action

    tuner.run.report = report_and_note  # type: ignore[method-assign]
    tuner.run_experiments(list(job.experiments))


TUNERS: dict[str, Callable[[Job], None]] = {
    "one after another": one_after_another,
    "plain Ray Tune": plain_ray_tune,
    "Optuna Hyperband": optuna_hyperband,
    "this project": this_project,
    "the winner alone": one_after_another,  # on a job of one
}


if __name__ == "__main__":
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    TUNERS[sys.argv[1]](Job.read(sys.argv[2]))
