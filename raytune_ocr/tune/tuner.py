"""`HyperparameterTuner`: presets in, Ray trials, one best result out.

The driver notes every epoch in its own state beside the results, so that a run goes on after
anything that ends the driver. Trials keep theirs as Ray checkpoints in their folders, and start
from the newest whole one.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raytune_ocr.config import KHMER_DIGITS, TrainingConfig, load_yaml
from raytune_ocr.errors import ConfigurationError, ExperimentFailedError, ModelCreationError
from raytune_ocr.files import DISK_FULL
from raytune_ocr.tune.budget import TARGET, TIME_BUDGET, Budget
from raytune_ocr.tune.cluster import Cluster
from raytune_ocr.tune.confirm import confirmation, confirming_records, winner
from raytune_ocr.tune.held_out import read_test_split
from raytune_ocr.tune.lock import RunLock
from raytune_ocr.tune.memory import go_on_with_less, killed_by_monitor, memory_needed
from raytune_ocr.tune.options import KEPT_OPTIONS, chosen_options
from raytune_ocr.tune.pace import Pace
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
from raytune_ocr.tune.search import SEARCH_KINDS, RandomSearch
from raytune_ocr.tune.signals import Interruptions
from raytune_ocr.tune.space import Space, anchor_homes, find_space, read_space
from raytune_ocr.tune.state import HELD_OUT, RunState
from raytune_ocr.tune.storage import RunCopy, Storage
from raytune_ocr.tune.tracking import add_pictures, check_trackers, trackers
from raytune_ocr.tune.warm_start import KnownPoints, read_known, refine

if TYPE_CHECKING:
    from raytune_ocr.tune.callback import DriverCallback

logger = logging.getLogger(__name__)

BEST_MODELS_KEPT = 10
CONFIRM_SEEDS = 3
FUTILE_ROUNDS = 3
MODEL_SETTINGS = (
    "model_name",
    "model_config_path",
    "model_options",
    "vocab_size",
    "max_sequence_length",
    "gradient_checkpointing",
    "imports",
)


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
        self.output_dir = Path(output_dir).absolute()
        self.overrides = dict(overrides or {})
        self.options = chosen_options(options)
        check_trackers(self.options.track)
        if self.options.data is not None:
            self.overrides["metadata_path"] = self.options.data
        self.config_file = str(find_space(config_file))
        self.config = self.load_config(self.config_file)
        self.validate_config(self.config)
        kept = self.options.storage
        self.copy = RunCopy(None if kept is None else Storage.at(kept), self.output_dir)
        resumed = self.options.resume or self.options.resume_if_any
        if resumed:
            self.copy.pull()
        earlier = RunState(self.output_dir).read().about if resumed else {}
        self.options = chosen_options(options, self._read(self.config).tuning, earlier)
        self.cluster = Cluster(self.options.address, self.output_dir)
        self.timestamp = datetime.datetime.now().strftime("%Y%m%d_%H%M%S")
        self._results_file = results_file
        self.records: dict[str, TrialRecord] = {}
        self.state = RunState(self.output_dir)
        self.targets: dict[str, float] = {}
        self.budget = Budget(self.options.time_budget, self.options.target)
        self._plan: RandomSearch = RandomSearch(Space({}))
        self.failure = ""
        self.resume_command = "the same, and resume=True"
        self.interruptions = Interruptions(self._kill_trials, self._last_words)
        self.actors: dict[Any, Any] = {}  # that run trials, by id
        self._document_pace, self._tables_pace = Pace(), Pace(seconds=1.0)
        self._document_due = self._tables_due = False

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles what it is given methods of; nothing reads that

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
        space = self._read(self.config, names)
        return refine(space, self.options.refine) if self.options.refine else space

    def _read(self, config: Mapping[str, Any], names: Sequence[str] | None = None) -> Space:
        return read_space(
            config,
            self.config_file,
            self.overrides,
            names,
            output_dir=str(self.output_dir),
            num_samples=self.options.num_samples,
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
        with self._document_pace.measured():
            document = self.document()
            write_json(self.results_file, document)
            write_json(self.output_dir / RESULTS_COPY, document)
            self._write_tables()
        self._document_due = False
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
        options = self.options
        self.failure = ""
        self.state = RunState(self.output_dir)
        resuming = options.resume or (options.resume_if_any and self.state.exists())
        known = self._known(space, resuming)
        self._plan = SEARCH_KINDS[options.search](space, known, options.max_trials)
        kept = self.state.read().trials if resuming else {}
        first = [*self._plan.first(kept), *self._plan.restored(kept)]
        self.records = {record.name: record for record in first}
        if resuming:
            self._load_state()
        self.budget.start(self.records.values())
        unfinished = self._searching() or self._confirming()
        if not self.records:
            raise ConfigurationError(f"--warm-start: {known.told_of(space)}")
        if unfinished and not self.budget.spent():
            self._train(unfinished, resuming)
        self._cut()
        if self.failure:
            raise ExperimentFailedError(
                f"{self.failure}; make room and go on with --resume: what was written is whole"
            )
        self._save_state()
        self._read_test_split()
        self._remove_checkpoints()
        self.save_results()
        self.state.close()
        self.copy.push(now=True)
        return self.document()

    def _known(self, space: Space, resuming: bool) -> KnownPoints:
        """What earlier runs tell; presets that are known are named."""
        sources = [*self.options.warm_start, *self.options.refine]
        known = read_known(sources)
        inside = [p.source for p in known.points if self.output_dir in Path(p.source).parents]
        if inside and not resuming:
            raise ConfigurationError(
                f"--output-dir: must not be where {inside[0]} is, since a new run takes its place; "
                "name another one"
            )
        for experiment in space.experiments.values():
            if not experiment.is_search and (point := known.of(experiment.point({}, 1).config)):
                logger.info("%s: not trained again, %s", experiment.name, point)
        return known

    def _train(self, unfinished: list[TrialRecord], resuming: bool) -> None:
        """Run the search, then what confirms it; and again what was lost for no fault of its own.

        Raises:
            ExperimentFailedError: when that happens over and over and no trial gets on.
        """
        possible = [*unfinished, *(self._plan.examples() if self._plan.adaptive else [])]
        data = self._load_data(possible)
        _check_models(possible, data)
        self.interruptions = Interruptions(self._kill_trials, self._last_words)
        with self.interruptions, self.cluster.running():
            self.interruptions.install()  # Ray has set handlers of its own as it started
            for record in possible:
                self.cluster.check(self._request(record))
            if self.copy.storage or self.cluster.address:
                self.cluster.check_storage(self.copy.storage or Storage.at(self.output_dir))
            if not resuming:  # not before all is known to be there
                self._forget_old_run()
            self._save_state()
            self.save_results()  # a report may watch from the first epoch on
            self.budget.begin()
            futile = 0
            while unfinished and futile < FUTILE_ROUNDS:
                before = self._progress()
                if not self._fit(unfinished, data) or self.ending:
                    return
                futile = 0 if self._progress() > before else futile + 1
                unfinished = [] if self.budget.reason else self._searching()
                unfinished = unfinished or self._confirming()
                self._save_state()
        if unfinished:
            raise ExperimentFailedError(
                f"trials were ended {futile} times in a row before any of them got on, by lost "
                "nodes or for want of memory; go on with --resume when the nodes are better"
            )

    def _cut(self) -> None:
        """End what a spent budget has ended; with the target reached, the search is whole."""
        self.budget.cut(self.records.values())
        if self.budget.reason == TARGET:
            left = self.unfinished
            self.records = {name: r for name, r in self.records.items() if name not in left}

    def _progress(self) -> int:
        """Grows with every epoch, and with every batch that was halved."""
        records = self.records.values()
        return sum(len(r.epochs) + r.used.get("accumulation_used", 0) for r in records)

    def _searching(self) -> list[TrialRecord]:
        """Trials of the search that are still to be run, those known by now."""
        unfinished = [r for r in self.records.values() if r.status not in FINISHED]
        if unfinished or self.failure or self.budget.reason:
            return unfinished
        drawn = self._draw()
        return [drawn] if drawn else []

    def _draw(self) -> TrialRecord | None:
        """One trial more, of a search that goes by its results; None: there is none."""
        record = self._plan.next(self.records)
        if record is not None:
            self.records[record.name] = record
            if self.state.opened:
                self.note(record)
        return record

    def _confirming(self) -> list[TrialRecord]:
        """Trials that are to confirm the best ones: none before the search is whole."""
        if self.failure or self.budget.reason == TIME_BUDGET or self._searching():
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
        whole = self.budget.reason != TIME_BUDGET and not self._searching()
        if best is None or not whole or best.name in read:
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
    def ended_by(self) -> str:
        """What ended the run before its last trial, in words; "" where nothing did."""
        options, budget = self.options, self.budget
        if budget.reason == TIME_BUDGET:
            left = f"{len(self.unfinished)} trials not begun" if self.unfinished else "none left"
            return f"the time budget of {options.time_budget:g} s is spent, {left}"
        if budget.reason:
            return f"the target {budget.target} is reached"
        if self.unfinished or options.max_trials is None:
            return ""
        there = sum(e.size for e in self._plan.space.experiments.values())
        begun = sum(not record.confirms for record in self.records.values())
        return (
            f"{begun} of at most {there} trials were asked for (raise --max-trials for more)"
            if begun < there
            else ""
        )

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

    def _request(self, record: TrialRecord) -> dict[str, float]:
        """What Ray is asked for by a trial."""
        asked, options = record.resources, self.options
        request = self.cluster.request(
            options.cpus_per_trial if asked.cpus is None else asked.cpus,
            options.gpus_per_trial if asked.gpus is None else asked.gpus,
            memory_needed(record, self.records.values()),
        )
        return request | ({"memory": asked.memory} if asked.memory else {})

    def _settings(self, record: TrialRecord) -> dict[str, Any]:
        """What a trial gets from Ray."""
        request = self._request(record)
        return {
            "experiment_name": record.name,
            "config": record.config_used.to_dict(),
            "threads": max(1, int(request["cpu"])),
            "timeout": self._time_left(record),
            "request": request,
        }

    def _time_left(self, record: TrialRecord) -> float | None:
        """Seconds that a trial may still train; None: without end."""
        if self.options.trial_timeout is None or record.confirms:
            return None
        return self.options.trial_timeout - sum(row["seconds"] for row in record.epochs)

    def _places(self) -> int | None:
        """Trials at a time where each draw is to know as many results as it can."""
        if not self._plan.adaptive:
            return None
        return self.cluster.places(self._request(self._plan.examples()[0]))

    def _scheduler(self) -> Any:
        """What stops trials early; None: nothing does."""
        from raytune_ocr.tune.schedulers import create_scheduler

        return create_scheduler(self.options, self.state, self.records, self._plan.examples())

    def _fit(self, records: Sequence[TrialRecord], data: dict[str, Any]) -> bool:
        """One run of Ray's tuner; False when it was interrupted, so that nothing may follow."""
        from ray import tune

        from raytune_ocr.tune.asking import AskedTrials, Asking, BudgetStopper, placement
        from raytune_ocr.tune.callback import DriverCallback
        from raytune_ocr.tune.trial import trial

        options = self.options
        done = set(self.records) - set(self.unfinished)
        confirming = bool(records[0].confirms)
        over = self.budget.out_of_time if confirming else self.budget.spent
        scheduler = None if confirming else self._scheduler()
        asked = AskedTrials(
            records,
            self._settings,
            more=(lambda: None) if confirming else self._draw,
            at_a_time=options.max_concurrent or self._places(),
        )
        trainable = tune.with_parameters(trial, data=data, storage=self.copy.storage)
        with ProgressReport(self.records, options.quiet) as progress:
            callback = DriverCallback(self, scheduler, progress)
            tuner = tune.Tuner(
                tune.with_resources(trainable, placement),
                param_space={},
                tune_config=tune.TuneConfig(
                    metric="best_score",
                    mode="max",
                    num_samples=-1,
                    search_alg=Asking(asked),
                    scheduler=scheduler,
                    reuse_actors=True,
                    trial_name_creator=_trial_name,
                    trial_dirname_creator=_trial_name,
                ),
                run_config=tune.RunConfig(
                    name=self.output_dir.name,
                    storage_path=str(self.output_dir.parent),
                    verbose=0,
                    stop=BudgetStopper(over),
                    failure_config=tune.FailureConfig(max_failures=1),
                    callbacks=[callback, *trackers(options.track, self.output_dir)],
                ),
            )
            try:
                with self.interruptions.trials_run(), self.cluster.silenced():
                    tuner.fit()
            except RuntimeError as error:
                if not self._survives(error, callback):
                    raise
                return True
            finally:
                self._remove_ray_state()
        self._cut()
        if self._document_due and not self.failure:
            self.save_results()
        add_pictures((r for r in self.records.values() if r.name not in done), data)
        return callback.lost >= set(self.unfinished)

    def _survives(self, error: RuntimeError, callback: DriverCallback) -> bool:
        """Whether it was Ray's memory monitor; the trial that took most goes on with less."""
        killed = killed_by_monitor(error)
        if killed is None:
            return False
        ended = [actor for actor in killed if actor in callback.actors]
        if ended:  # several may be, for the sake of one
            record = callback.actors[max(ended, key=lambda actor: killed[actor])]
            go_on_with_less(record)
            self.note(record)
        return True

    # What trials tell, through the callback

    def note(self, record: TrialRecord) -> None:
        """Keep what changed of a trial, and bring the files up to date where that is due."""
        self.budget.note(record)
        with self._disk_full_ends_run():
            self.state.note(record)
            if record.status in FINISHED:
                self.copy.pull_trial(record.name)
        self._tables_due = True
        self._document_due |= record.status in FINISHED
        self.write_due()

    def write_due(self) -> None:
        """Write the JSON after a trial finished, the tables each second; not all the time.

        Both grow with the run, so each gets at most a twentieth of its time: where writing takes
        a second, what others read is at most twenty seconds old. The state is always up to date.
        """
        with self._disk_full_ends_run():
            if self._document_due and self._document_pace.ready():
                self.save_results()
            elif self._tables_due and self._tables_pace.ready():
                self._write_tables()
            self.copy.push()

    @contextmanager
    def _disk_full_ends_run(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            self.stop(str(error))

    def stop(self, failure: str) -> None:
        """End the run in order, for a reason that no other trial would escape."""
        if not self.interruptions.ending:
            self.failure = failure
            self.interruptions.end_run()

    @property
    def ending(self) -> bool:
        """Whether the run is being ended before its trials are."""
        return self.interruptions.ending

    def _kill_trials(self) -> None:
        """End the processes of this run's trials; they are taken up from their states."""
        import ray

        for actor in self.actors.values():
            ray.kill(actor)

    def _last_words(self) -> None:
        self.save_results()
        self.copy.push(now=True)
        print(f"stopped; go on with: {self.resume_command}", file=sys.__stderr__, flush=True)

    def _write_tables(self) -> None:
        with self._tables_pace.measured():
            write_tables(self.output_dir, list(self.records.values()), self.targets)
        self._tables_due = False

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

    def _forget_old_run(self) -> None:
        """A fresh run takes nothing from an old one in the same folder."""
        names = {*self.records, *self.state.read().trials}
        self.state.path.unlink(missing_ok=True)
        self._forget(names)

    def _forget(self, names: Iterable[str]) -> None:
        for name in names:
            self.copy.remove(name)
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
            if not record.is_over:
                continue
            self._remove_states(record.name, keep=1 if record is best else 0)
            folder = self.output_dir / record.name / "checkpoints"
            for path in folder.glob("checkpoint_epoch_*.pt"):
                path.unlink(missing_ok=True)
            if record is not best and record.name not in ranked[:BEST_MODELS_KEPT]:
                shutil.rmtree(folder, ignore_errors=True)
            if record is not best:
                self.copy.prune(record.name)


def _check_models(records: Sequence[TrialRecord], data: Mapping[str, Any] | None = None) -> None:
    """Build every model once: an unknown name or wrong options are told before Ray starts.

    Without `data`, only the readers are built; of other models the name is looked up.
    """
    from raytune_ocr.tune.trial import data_key

    found: dict[str, str] = {}  # what is wrong, by the settings that a model depends on
    problems = []
    for record in records:
        config = record.config
        key = json.dumps([data_key(config), *(getattr(config, name) for name in MODEL_SETTINGS)])
        if key not in found:
            found[key] = _model_problem(config, data)
        if found[key]:
            problems.append(f"experiments.{record.name}.model: {found[key]}")
    if problems:
        raise ModelCreationError("\n".join(problems))


def _model_problem(config: TrainingConfig, data: Mapping[str, Any] | None) -> str:
    from raytune_ocr.models import ModelRegistry
    from raytune_ocr.plugins import import_modules
    from raytune_ocr.training import create_model_from_config
    from raytune_ocr.tune.trial import data_key

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
        return str(error)
    return ""


def _trial_name(trial: Any) -> str:
    return str(trial.config["experiment_name"])
