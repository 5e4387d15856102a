"""`HyperparameterTuner`: presets in, Ray trials, one best result out.

The driver notes every epoch in its own state beside the results, so that a run goes on after
anything that ends the driver. Trials keep theirs as Ray checkpoints in their folders, and start
from the newest whole one.
"""

from __future__ import annotations

import datetime
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_ocr.config import KHMER_DIGITS, load_yaml
from raytune_ocr.errors import ConfigurationError, ExperimentFailedError, ModelCreationError
from raytune_ocr.files import DISK_FULL
from raytune_ocr.tune.cluster import Cluster
from raytune_ocr.tune.confirm import confirmation, confirming_records, winner
from raytune_ocr.tune.experiment import Experiment, Point
from raytune_ocr.tune.held_out import read_test_split
from raytune_ocr.tune.lock import RunLock
from raytune_ocr.tune.report import ProgressReport, summary
from raytune_ocr.tune.results import (
    FINISHED,
    RESULTS_COPY,
    TrialRecord,
    ranking,
    results_document,
    write_json,
    write_tables,
)
from raytune_ocr.tune.space import Space, anchor_homes, find_space, read_space
from raytune_ocr.tune.state import RunState

logger = logging.getLogger(__name__)

BEST_MODELS_KEPT = 10
CONFIRM_SEEDS = 3
HELD_OUT = "held_out"  # the kind of note that says how a winner read the test split
KEPT_OPTIONS = ("confirm", "confirm_seeds")  # a resumed run goes on with them


@dataclass
class TuneOptions:
    """How a run is run; what is trained stands in the YAML.

    Attributes:
        scheduler: "asha" or "none".
        grace_period: epochs before a trial may be stopped.
        reduction_factor: one in this many goes on at each rung.
        max_concurrent: trials at a time, 0 for as many as fit.
        cpus_per_trial: also the threads of a trial (at least one).
        gpus_per_trial: may be a fraction; None: a quarter of a GPU if there is one.
        address: of a Ray cluster; None starts Ray on this machine.
        data: overrides every experiment's `metadata_path`.
        resume: go on with the run in the output folder.
        resume_if_any: go on if the output folder holds a run, else start one.
        force_unlock: take the output folder even if another run holds its lock.
        confirm: how many of the best to train again with fresh seeds; None: none, or as many as
            the run that is resumed.
        confirm_seeds: of each; None: 3, or as many as the run that is resumed.
    """

    scheduler: str = "asha"
    grace_period: int = 5
    reduction_factor: int = 3
    max_concurrent: int = 0
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    address: str | None = None
    data: str | None = None
    allow_outside: bool = False
    resume: bool = False
    resume_if_any: bool = False
    force_unlock: bool = False
    confirm: int | None = None
    confirm_seeds: int | None = None
    quiet: bool = False


class HyperparameterTuner:
    """Runs the experiments of a YAML as Ray trials.

    Args:
        config_file: a YAML file, or the name of a shipped search space.
        output_dir: a folder for each trial, tables and state.
        results_file: default `hyperparameter_tuning_results_<timestamp>.json` in this folder.
        overrides: fields of `TrainingConfig` set in every experiment.
        **options: of `TuneOptions`.

    Raises:
        ConfigurationNotFoundError (FileNotFoundError), ConfigurationSyntaxError
        (yaml.YAMLError), ConfigurationError (ValueError).
    """

    def __init__(
        self,
        config_file: str = "presets",
        *,
        output_dir: str | os.PathLike[str] = "training_output",
        results_file: str | os.PathLike[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.options = TuneOptions(**options)
        self.output_dir = Path(output_dir).absolute()
        self.cluster = Cluster(self.options.address, self.output_dir)
        self.overrides = dict(overrides or {})
        if self.options.data is not None:
            self.overrides["metadata_path"] = self.options.data
        self.config_file = str(find_space(config_file))
        self.config = self.load_config(self.config_file)
        self.validate_config(self.config)
        self.timestamp = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
        self._results_file = results_file
        self.records: dict[str, TrialRecord] = {}
        self.state = RunState(self.output_dir)
        self.targets: dict[str, float] = {}
        self.signal_received = 0
        self.failure = ""
        self._tables_written = 0.0

    def load_config(self, config_file: str) -> dict[str, Any]:
        """The YAML as a mapping; raises yaml.YAMLError when it is not valid."""
        content = load_yaml(find_space(config_file))
        homes = anchor_homes(content)
        if homes:
            logger.info("%s: only merged from: %s", config_file, ", ".join(homes))
        return content

    def validate_config(self, config: Mapping[str, Any]) -> None:
        """Check it whole; raises ValueError with all problems."""
        self._read(config)

    def space(self, names: Sequence[str] | None = None) -> Space:
        """The checked configs of all or the named experiments."""
        return self._read(self.config, names)

    def _read(self, config: Mapping[str, Any], names: Sequence[str] | None = None) -> Space:
        return read_space(
            config, self.config_file, self.overrides, names, output_dir=str(self.output_dir)
        )

    @property
    def results_file(self) -> Path:
        """Where the JSON goes."""
        default = f"hyperparameter_tuning_results_{self.timestamp}.json"
        return Path(self._results_file or default).absolute()

    # Running

    def run_experiments(self, experiment_names: Sequence[str] | None = None) -> dict[str, Any]:
        """Run all or the named experiments; returns what the JSON holds.

        Raises:
            ConfigurationError: an unknown name, resources that are not there, a resume that does
                not fit.
            DataLoaderError: the data cannot be used.
        """
        return self._run(self.space(experiment_names))

    def run_single_experiment(
        self, experiment_name: str, experiment_config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Run one experiment given as its sections; returns its result.

        Raises:
            ExperimentFailedError: when it failed.
        """
        content = {"experiments": {experiment_name: experiment_config}}
        document = self._run(self._read(content))
        result = next(
            (r for r in document["all_results"] if r["experiment_name"] == experiment_name), None
        )
        if result is None or result["status"] == "failed":
            why = result["error_message"] if result else "it did not finish"
            raise ExperimentFailedError(f"{experiment_name}: {why}")
        return result

    def save_results(self) -> str:
        """Write the JSON and the tables as they stand; returns the JSON's path."""
        document = self.document()
        write_json(self.results_file, document)
        write_json(self.output_dir / RESULTS_COPY, document)
        self._write_tables()
        return str(self.results_file)

    def document(self) -> dict[str, Any]:
        """What the JSON holds."""
        records = list(self.records.values())
        return results_document(
            records,
            self.targets,
            self.timestamp,
            best=winner(records),
            confirmation=confirmation(records, self.targets),
            held_out={
                note["trial"]: note["figures"] for note in self.state.notes.get(HELD_OUT, [])
            },
        )

    def _run(self, space: Space) -> dict[str, Any]:
        self.targets = space.targets
        self.output_dir.mkdir(parents=True, exist_ok=True)
        with RunLock(self.output_dir, self.options.force_unlock):
            return self._run_locked(space)

    def _run_locked(self, space: Space) -> dict[str, Any]:
        self.records = {
            point.name: _record(space.experiments[name], point)
            for name, points in space.points.items()
            for point in points
        }
        self.failure = ""
        self.state = RunState(self.output_dir)
        there = self.options.resume_if_any and self.state.exists()
        resuming = self.options.resume or there
        if resuming:
            self._load_state()
        unfinished = self._searching() or self._confirming()
        if unfinished:
            data = self._load_data(unfinished)
            _check_models(unfinished, data)
            with self.cluster.running(), self._signals():  # Ray sets a handler as it starts
                request = self.cluster.request(
                    self.options.cpus_per_trial, self.options.gpus_per_trial
                )
                self.cluster.check(request)
                if not resuming:  # not before all is known to be there
                    self._forget_old_run()
                self._save_state()
                self.save_results()  # a report may watch from the first epoch on
                self._fit(unfinished, data, request)
                if more := self._confirming():
                    self._save_state()
                    self._fit(more, data, request)
        if self.failure:
            raise ExperimentFailedError(
                f"{self.failure}; make room and go on with --resume: what was written is whole"
            )
        self._save_state()
        self._read_test_split()
        self._remove_checkpoints()
        self.save_results()
        self.state.close()
        return self.document()

    def _searching(self) -> list[TrialRecord]:
        """Trials of the search that are still to be run."""
        return [r for r in self.records.values() if r.status not in FINISHED]

    def _confirming(self) -> list[TrialRecord]:
        """Trials that are to confirm the best ones: none before the search is whole."""
        if self.failure or self._searching():
            return []
        options = self.options
        made = confirming_records(
            self.records.values(), options.confirm or 0, options.confirm_seeds or CONFIRM_SEEDS
        )
        new = {name: record for name, record in made.items() if name not in self.records}
        self._forget(set(new) - self.state.take_up(new))
        self.records |= new
        return [record for record in new.values() if record.status not in FINISHED]

    def _read_test_split(self) -> None:
        """Once for each winner that a whole run has had: what was read is kept in the state."""
        best = winner(list(self.records.values()))
        read = {note["trial"] for note in self.state.notes.get(HELD_OUT, [])}
        if best is None or self._searching() or best.name in read:
            return
        if figures := read_test_split(best, self.options.allow_outside):
            self.state.keep(HELD_OUT, {"trial": best.name, "figures": figures})

    def summary(self) -> str:
        """The end of a run in words."""
        paths = [
            ("results", str(self.results_file)),
            ("table", str(self.output_dir / "trials.csv")),
        ]
        document = self.document()
        best = document["best_result"]
        if best and best["checkpoint"]:
            paths.append(("best checkpoint", best["checkpoint"]))
        return summary(self.records.values(), self.targets, paths, document)

    @property
    def unfinished(self) -> list[str]:
        """Names of the experiments that neither completed nor failed."""
        return [r.name for r in self.records.values() if r.status not in FINISHED]

    # Data

    def _load_data(self, records: Sequence[TrialRecord]) -> dict[str, Any]:
        """Datasets by `data_key`, each read once; the default digits are made if absent.

        Raises:
            ConfigurationError, DataLoaderError, ModelCreationError: what cannot be imported,
                read or is not there, told before anything is read.
        """
        from raytune_ocr.data import create_dataset
        from raytune_ocr.tune.trial import data_key

        _check_models(records)
        datasets: dict[str, Any] = {}
        for record in records:
            key = data_key(record.config)
            if key not in datasets:
                datasets[key] = create_dataset(
                    record.config, allow_outside=self.options.allow_outside
                )
        for dataset in datasets.values():
            dataset.prepare()
        return datasets

    # Ray

    def _fit(
        self, records: Sequence[TrialRecord], data: dict[str, Any], request: Mapping[str, float]
    ) -> None:
        from ray import tune

        from raytune_ocr.tune.callback import DriverCallback
        from raytune_ocr.tune.schedulers import PersistentASHA
        from raytune_ocr.tune.trial import trial

        options = self.options
        names = [record.name for record in records]
        longest = max(record.config.num_epochs for record in records)
        scheduler = None
        if options.scheduler == "asha" and not records[0].confirms:
            scheduler = PersistentASHA(
                self.state,
                grace_period=options.grace_period,
                reduction_factor=options.reduction_factor,
                max_epochs=longest,
            )
        configs = {record.name: record.config.to_dict() for record in records}
        trainable = tune.with_parameters(trial, configs=configs, data=data)
        threads = max(1, int(options.cpus_per_trial))
        with ProgressReport(self.records, options.quiet) as progress:
            tuner = tune.Tuner(
                tune.with_resources(trainable, dict(request)),
                param_space={
                    "experiment_name": tune.grid_search(names),
                    "threads": threads,
                },
                tune_config=tune.TuneConfig(
                    metric="best_score",
                    mode="max",
                    scheduler=scheduler,
                    max_concurrent_trials=options.max_concurrent or None,
                    reuse_actors=True,
                    trial_name_creator=_trial_name,
                    trial_dirname_creator=_trial_name,
                ),
                run_config=tune.RunConfig(
                    name=self.output_dir.name,
                    storage_path=str(self.output_dir.parent),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=1),
                    checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
                    callbacks=[DriverCallback(self, scheduler, progress)],
                ),
            )
            with self.cluster.silenced():
                tuner.fit()
            self._remove_ray_state()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM ends a run as Ctrl-C does: Ray's handler stops the trials, state is kept."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def forward(number: int, frame: Any) -> None:
            self.signal_received = number
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGTERM, forward)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    # What trials tell, through the callback

    def note(self, record: TrialRecord) -> None:
        """Keep what changed: the state always, the JSON when a trial finished."""
        try:
            self.state.note(record)
            if record.status in FINISHED:
                self.save_results()
            elif time.monotonic() - self._tables_written > 1.0:
                self._write_tables()
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self.stop(str(error))

    def stop(self, failure: str) -> None:
        """End the run in order, for a reason that no other trial would escape."""
        self.failure = failure
        os.kill(os.getpid(), signal.SIGINT)

    def _write_tables(self) -> None:
        write_tables(self.output_dir, list(self.records.values()), self.targets)
        self._tables_written = time.monotonic()

    # State

    def _save_state(self) -> None:
        """Leave the state tidy, and ready for more."""
        about = {
            "timestamp": self.timestamp,
            "results_file": str(self.results_file),
            **{name: getattr(self.options, name) for name in KEPT_OPTIONS},
        }
        self.state.rewrite(self.records, about)

    def _load_state(self) -> None:
        """Take up the run in the output folder; raises ConfigurationError if it does not fit."""
        about = self.state.load(self.records)
        self.timestamp = about["timestamp"]
        if self._results_file is None:
            self._results_file = about["results_file"]
        for name in KEPT_OPTIONS:
            if getattr(self.options, name) is None:
                setattr(self.options, name, about.get(name))

    def _forget_old_run(self) -> None:
        """A fresh run takes nothing from an old one in the same folder."""
        self._forget(self.records)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            for folder in ("checkpoints", "tensorboard", "logs"):
                shutil.rmtree(self.output_dir / name / folder, ignore_errors=True)
            self._remove_states(name)

    def _remove_ray_state(self) -> None:
        """Ray's own snapshot of the run: a resume does not use it, and it holds pickles."""
        for pattern in ("tuner.pkl", "experiment_state-*.json", "basic-variant-state-*.json"):
            for path in self.output_dir.glob(pattern):
                path.unlink(missing_ok=True)

    def _remove_states(self, name: str, keep: int = 0) -> None:
        """All of a trial's states but the newest `keep`."""
        folders = (self.output_dir / name).glob("checkpoint_*")
        newest_first = sorted(folders, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for folder in newest_first[keep:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_checkpoints(self) -> None:
        """States of finished trials go, but the winner's; best models of the first few stay."""
        ranked = [record.name for record in ranking(self.records.values())]
        best = winner(list(self.records.values()))
        for record in self.records.values():
            if record.status not in FINISHED:
                continue
            self._remove_states(record.name, keep=1 if record is best else 0)
            folder = self.output_dir / record.name / "checkpoints"
            for path in folder.glob("checkpoint_epoch_*.pt"):
                path.unlink(missing_ok=True)
            if record is not best and record.name not in ranked[:BEST_MODELS_KEPT]:
                shutil.rmtree(folder, ignore_errors=True)


def _record(experiment: Experiment, point: Point) -> TrialRecord:
    search = experiment.name if experiment.is_search else ""
    return TrialRecord(
        point.config, search=search, sampled=point.values, resources=experiment.resources
    )


def _check_models(records: Sequence[TrialRecord], data: Mapping[str, Any] | None = None) -> None:
    """Build every model once: an unknown name or wrong options are told before Ray starts.

    Without `data`, only the readers are built; of other models the name is looked up.
    """
    from raytune_ocr.models import ModelRegistry
    from raytune_ocr.plugins import import_modules
    from raytune_ocr.training import create_model_from_config
    from raytune_ocr.tune.trial import data_key

    problems = []
    for record in records:
        config = record.config
        try:
            import_modules(config.imports)
            if config.dataset_name == KHMER_DIGITS:
                create_model_from_config(config)
            elif data is None:
                ModelRegistry.factory(config.model_name)
            else:
                dataset = data[data_key(config)]
                create_model_from_config(config, dataset.model_arguments())
        except (ModelCreationError, ConfigurationError) as error:
            problems.append(f"experiments.{record.name}.model: {error}")
    if problems:
        raise ModelCreationError("\n".join(problems))


def _trial_name(trial: Any) -> str:
    return str(trial.config["experiment_name"])
