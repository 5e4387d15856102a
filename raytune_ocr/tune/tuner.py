"""`HyperparameterTuner`: runs the experiments of a YAML file and returns the best result."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raytune_ocr.config.yaml_files import load_document
from raytune_ocr.errors import ConfigurationError, ExperimentFailedError
from raytune_ocr.files import is_disk_full, why_not_writable
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.replay import Replay
from raytune_ocr.results.steering.run_lock import RunLock
from raytune_ocr.tasks.registry import target_metrics
from raytune_ocr.tune.chosen_options import check_prices, chosen_options, not_followed
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.execution.circumstances import note_command
from raytune_ocr.tune.execution.console import summary
from raytune_ocr.tune.execution.earlier_run import EarlierRun
from raytune_ocr.tune.execution.ray_executor.trial_runner import TrialRunner
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.execution.signals import interruption
from raytune_ocr.tune.execution.terminal.notebook import html_table
from raytune_ocr.tune.execution.trial_errors import disk_full
from raytune_ocr.tune.search.library import add_to_library, read_library
from raytune_ocr.tune.search.refine import refine
from raytune_ocr.tune.search.warm_start import KNOWN, KnownPoints, read_known
from raytune_ocr.tune.space.devices import check_devices
from raytune_ocr.tune.space.search_space import (
    Space,
    goal_problems,
    merge_sources,
    read_space,
)
from raytune_ocr.tune.space.shipped_spaces import find_space
from raytune_ocr.tune.storage.mirror import RunCopy
from raytune_ocr.tune.storage.storage import Storage
from raytune_ocr.tune.tracking.optuna_study import OptunaStudies
from raytune_ocr.tune.tracking.registry import check_trackers, send_winner

logger = logging.getLogger(__name__)


class HyperparameterTuner:
    """Runs the experiments of a YAML file as Ray trials.

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
        kept = self.options.storage
        copy = RunCopy(None if kept is None else Storage.at(kept), self.output_dir)
        self._in_folder = EarlierRun(self.output_dir, copy)
        self._earlier = self._in_folder.read() if self._may_resume else Replay()
        self.options = chosen_options(options, None, self._earlier.about)
        self._space = self._read(self.config)
        about = self._earlier.about
        self.options = chosen_options(options, self._space.tuning, about)
        for line in not_followed(options, self._space.tuning, about):
            logger.warning("%s", line)
        check_prices(self.options, self._space.prices)
        self._check_target()
        self._known: dict[str, KnownPoints] = {}
        self.run = Run(
            self.output_dir,
            self.options,
            copy,
            results_file=None if results_file is None else Path(results_file),
        )
        self.cluster = Cluster(self.options.address, self.output_dir)
        self.runner = TrialRunner(self.run, self.cluster, self.options)

    def _check_target(self) -> None:
        target, experiments = self.options.target, self._space.experiments.values()
        names = [target.name] if target else []
        if problems := goal_problems(names, target_metrics(), experiments, "--target: "):
            raise ConfigurationError(problems[0])

    @property
    def _may_resume(self) -> bool:
        return self.options.resume or self.options.resume_if_any

    def load_config(self, config_file: str) -> dict[str, Any]:
        """Return the YAML as a mapping; raise yaml.YAMLError if it is not valid."""
        content = load_document(find_space(config_file))
        if sources := merge_sources(content):
            logger.info(
                "%s: only have an effect where an experiment merges them: %s",
                config_file,
                ", ".join(sources),
            )
        return content

    def validate_config(self, config: Mapping[str, Any]) -> None:
        """Check the whole config; raise ValueError with all problems."""
        self._read(config)

    def space(self, names: Sequence[str] | None = None) -> Space:
        """Return the checked configs of all or the named experiments."""
        space, options = self._space.only(names), self.options
        if not options.refine:
            return space
        return refine(space, [self._known_by("refine")], options.num_samples)

    def known(self, space: Space) -> KnownPoints:
        """Return the points of earlier runs, and log the presets that they have trained already."""
        known = read_known([self._known_by("warm_start"), self._known_by("refine")])
        known = replace(known, library=self._known_by("library").points)
        for experiment in space.experiments.values():
            if not experiment.is_search and (point := known.of(experiment.point({}, 1).config)):
                logger.info("%s: not trained again, %s", experiment.name, point)
        return known

    def _known_by(self, option: str) -> KnownPoints:
        """Return the points of `warm_start`, `refine` or `library`, as the run began with them.

        The sources may have changed or gone since, and the run's draws depend on them.
        """
        if option not in self._known:
            sources, kept = getattr(self.options, option), self._earlier.facts.get(KNOWN)
            if kept and sources == self._earlier.about.get(option):
                self._known[option] = KnownPoints.of_kept(kept[-1].get(option, ()))
            elif option == "library":
                self._known[option] = KnownPoints(read_library(sources) if sources else [])
            else:
                self._known[option] = read_known(sources)
        return self._known[option]

    def _read(self, config: Mapping[str, Any]) -> Space:
        return read_space(
            config,
            self.config_file,
            self.overrides,
            output_dir=str(self.output_dir),
            num_samples=self.options.num_samples,
        )

    def run_experiments(self, experiment_names: Sequence[str] | None = None) -> dict[str, Any]:
        """Run all or the named experiments; return the content of the results JSON.

        Raises:
            ConfigurationError: an unknown name, missing resources, or a run that cannot be resumed.
            DataLoaderError: the data cannot be used.
            KeyboardInterrupt: on Ctrl-C or SIGTERM, after everything is saved.
        """
        space = self.space(experiment_names)
        for line in space.shortfalls:
            logger.info("%s", line)
        return self._run(space)

    def run_single_experiment(
        self, experiment_name: str, experiment_config: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Run one experiment, given as its sections; return its result.

        Raises:
            ExperimentFailedError: the experiment failed.
        """
        content = {
            "experiments": {experiment_name: experiment_config},
            "prices": self.config.get("prices"),
        }
        document = self._run(self._read(content))
        result = next(
            (r for r in document["all_results"] if r["experiment_name"] == experiment_name), None
        )
        if result is None or result["status"] == "failed":
            why = result["error_message"] if result else "it did not finish"
            raise ExperimentFailedError(f"{experiment_name}: {why}")
        return result

    def _run(self, space: Space) -> dict[str, Any]:
        check_devices(
            ((e, point) for name, e in space.experiments.items() for point in space.points[name]),
            self.options,
        )
        with RunLock(self.output_dir, self.options.force_unlock):
            try:
                return self._run_locked(space)
            except OSError as error:
                if not is_disk_full(error):
                    raise
                raise disk_full(str(error)) from None
            finally:
                if not Journal(self.output_dir).exists():  # the run never began
                    self.cluster.log_file.unlink(missing_ok=True)

    def _run_locked(self, space: Space) -> dict[str, Any]:
        options, run = self.options, self.run
        if self._may_resume:  # only with the lock: another run may be using the folder
            run.copy.pull()
        there = Journal(self.output_dir).exists()
        resuming = options.resume or (options.resume_if_any and there) or self.has_begun()
        known = self.known(space)
        inside = [p.source for p in known.points if self.output_dir in Path(p.source).parents]
        if inside and not resuming:
            raise ConfigurationError(
                f"--output-dir: must not contain {inside[0]}, since a new run replaces that file; "
                "name another folder"
            )
        run.start(space, known, resuming)
        note_command(run.journal.facts)
        run.recorder.observer = self._observer(space)
        if not (resuming or options.overwrite):
            self._in_folder.check_replaceable(run.records)
        if options.warm_start or options.refine or options.library:
            run.journal.facts[KNOWN] = [{name: known.kept() for name, known in self._known.items()}]
        if why := why_not_writable(run.results_file, follow_links=True):
            raise ConfigurationError(
                f"--results-file: must be a file that can be written, got {run.results_file}: {why}"
            )
        if resuming:
            self.runner.desk.take_all()  # they may have waited for this resume
        unfinished = run.next()
        if unfinished:
            self.runner.train(unfinished, resuming)
        run.cut()
        if run.recorder.failure:
            raise disk_full(run.recorder.failure)
        run.end()
        if options.library:
            add_to_library(options.library, run.id, run.results_file)
        if not (run.unfinished or run.unconfirmed):
            best = run.document()["best_result"]
            send_winner(self.options.track, run.output_dir, run.id, best)
        if number := self.runner.interruptions.received:
            raise interruption(number)
        return run.document()

    def _observer(self, space: Space) -> OptunaStudies | None:
        """What else hears of the run's trials."""
        if self.options.optuna_storage is None:
            return None
        return OptunaStudies(
            self.options.optuna_storage,
            f"{self.output_dir.name}-{self.run.id}",
            [experiment.domains for experiment in space.experiments.values()],
            list(self.run.records.values()),
        )

    def has_begun(self) -> bool:
        """Whether this object's run is in the output folder; another call then adds to that run."""
        return bool(Journal(self.output_dir).read().about.get("id") == self.run.id)

    # Results

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """Trials by name."""
        return self.run.records

    @property
    def results_file(self) -> Path:
        """Path of the results JSON."""
        return self.run.results_file

    def save_results(self) -> str:
        """Write the JSON and the tables; return the JSON's path."""
        self.run.save_results()
        return str(self.results_file)

    def _repr_html_(self) -> str:
        """Return the trials as a table, for notebooks."""
        return html_table(list(self.records.values()), str(self.output_dir))

    def document(self) -> dict[str, Any]:
        """Return the content of the results JSON."""
        return self.run.document()

    def summary(self) -> str:
        """Return the summary that is printed at the end of a run."""
        paths = [
            ("results", str(self.results_file)),
            ("table", str(self.output_dir / "trials.csv")),
        ]
        document = self.document()
        best = document["best_result"]
        if best and best["checkpoint"]:
            paths.append(("best checkpoint", best["checkpoint"]))
        return summary(self.records.values(), paths, document)
