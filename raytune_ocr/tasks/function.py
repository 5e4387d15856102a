"""The task of a user's own training function: `trainable: my_package.train:finetune`."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import (
    ConfigurationError,
    DataLoaderError,
    RaytuneOCRError,
    TrialStopped,
    unknown_name,
)
from raytune_ocr.plugins import import_modules
from raytune_ocr.tasks.base import Report, Task
from raytune_ocr.tasks.context import FunctionContext
from raytune_ocr.tasks.function_callbacks import (
    BestState,
    EpochReport,
    FunctionEarlyStopping,
    read_context,
)
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.checkpoints.run_folder import RunFolder

PREPARE = "prepare"
"""The function beside a trainable that makes its data."""

RETURNED = "returned"
"""The stop reason of a trial with a function that returned before its last epoch."""


def function_named(name: str) -> Callable[..., Any]:
    """The function `module:function`, of a module that has been imported.

    Raises:
        ConfigurationError: there is none, or it does not take `(parameters, context)`.
    """
    module, _, attribute = name.partition(":")
    if module not in sys.modules:
        raise ConfigurationError(
            f"{name}: {module} is not imported; to import it, pass --trainable {name}"
        )
    function = getattr(sys.modules[module], attribute, None)
    if not callable(function):
        known = [n for n, each in vars(sys.modules[module]).items() if inspect.isfunction(each)]
        raise ConfigurationError(f"{module}: {unknown_name('function', attribute, known)}")
    try:
        inspect.signature(function).bind({}, None)
    except TypeError as error:
        raise ConfigurationError(f"{name}: must take (parameters, context): {error}") from None
    return function


class FunctionTask(Task):
    """Calls `function(parameters, context)`; whatever numbers it reports are the metrics."""

    name: ClassVar[str] = "function"
    halves_batch: ClassVar[bool] = False

    def hyperparameters(self, config: TrainingConfig) -> dict[str, Any]:
        """The function's parameters."""
        return {f"parameters.{name}": value for name, value in config.parameters.items()}

    def check(self, config: TrainingConfig, data: Any = None) -> None:
        """Find the function."""
        function_named(config.trainable)

    def data_key(self, config: TrainingConfig) -> str:
        """By the parameters that `prepare` takes, which others may share their data with."""
        return json.dumps([config.trainable, _asked(config)], sort_keys=True)

    def prepare(self, config: TrainingConfig, data: Any) -> Any:
        """Call `prepare` beside the function, if there is one.

        Raises:
            DataLoaderError: it raised.
        """
        prepare = _prepare_of(config)
        if prepare is None:
            return None
        try:
            return prepare(**_asked(config))
        except RaytuneOCRError:
            raise
        except Exception as error:  # of a user's code
            where = f"{prepare.__module__}:{PREPARE}"
            raise DataLoaderError(f"{where}: {type(error).__name__}: {error}") from error

    def code_fingerprint(self, config: TrainingConfig) -> str:
        """The module's source."""
        import_modules(config.imports)
        module = inspect.getmodule(function_named(config.trainable))
        try:
            source = inspect.getsource(module) if module else ""
        except (OSError, TypeError):
            return ""
        return hashlib.sha256(source.encode()).hexdigest()[:16]

    def load_model(self, config: TrainingConfig, state: Any, folder: Path | None) -> Any:
        """Call `load_model(parameters, state, folder)` beside the function.

        Raises:
            ConfigurationError: there is none.
        """
        load = _beside(config, "load_model")
        if load is None:
            raise ConfigurationError(
                f"{config.trainable}: its module must define load_model(parameters, state, "
                "folder), which returns the trained model"
            )
        return load(dict(config.parameters), state, folder)

    def example_inputs(self, config: TrainingConfig) -> tuple[Any, ...] | None:
        """Call `example_inputs(parameters)` beside the function, if there is one."""
        examples = _beside(config, "example_inputs")
        return None if examples is None else tuple(examples(dict(config.parameters)))

    def predict(self, config: TrainingConfig, model: Any, files: Sequence[Path]) -> Iterable[Any]:
        """Call `predict(model, files)` beside the function."""
        hook = _beside(config, "predict")
        return super().predict(config, model, files) if hook is None else hook(model, files)

    def train(
        self,
        config: TrainingConfig,
        data: Any,
        report: Report,
        resume_from: Path | None = None,
        callbacks: Sequence[Any] = (),
    ) -> None:
        """Call the function, from the state that is resumed."""
        from raytune_ocr.training.checkpoints.rng import seed_everything
        from raytune_ocr.training.device import get_device

        import_modules(config.imports)
        function = function_named(config.trainable)
        reports = EpochReport(config, report)
        with tempfile.TemporaryDirectory(prefix="raytune_ocr_") as scratch:
            context = FunctionContext(
                config.num_epochs,
                data,
                get_device(config.device),
                config.seed,
                parameters=dict(config.parameters),
                changed=config.parameters_after,
                callbacks=_callbacks(config, callbacks, reports),
                scratch=Path(scratch),
            )
            if resume_from is not None:
                read_context(context, Path(resume_from))
                reports.report_last(context)
            seed_everything(config.seed)
            _call(function, context)
        if not context.is_over:
            report({"stop_reason": RETURNED}, None)


def _beside(config: TrainingConfig, name: str) -> Callable[..., Any] | None:
    """The function of that name beside a trainable, if there is one."""
    found = getattr(sys.modules[function_named(config.trainable).__module__], name, None)
    return found if callable(found) else None


def _asked(config: TrainingConfig) -> dict[str, Any]:
    """The parameters that `prepare` takes, by their names."""
    prepare = _prepare_of(config)
    named = inspect.signature(prepare).parameters.values() if prepare else ()
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in named)
    taken = [parameter.name for parameter in named]
    return {n: value for n, value in config.parameters.items() if every or n in taken}


def _prepare_of(config: TrainingConfig) -> Callable[..., Any] | None:
    import_modules(config.imports)
    return _beside(config, PREPARE)


def _call(function: Callable[..., Any], context: FunctionContext) -> None:
    """Call it and let its callbacks end; raises what a report has raised.

    Raises:
        ConfigurationError: it reported nothing.
    """
    context.begin()
    try:
        if not context.is_over:
            function(context.parameters, context)
    except TrialStopped:
        pass
    except Exception:
        if context.interruption is None:
            raise
    finally:
        context.end()
    if context.interruption is not None:
        raise context.interruption
    if not context.epoch:
        name = f"{function.__module__}:{getattr(function, '__name__', function)}"
        raise ConfigurationError(
            f"{name}: returned without a report; call context.report(...) after each epoch"
        )


def _callbacks(config: TrainingConfig, callbacks: Sequence[Any], report: Callback) -> list[Any]:
    """Those of every training: early stopping, logs, what saves, and at last what reports."""
    from raytune_ocr.training.callbacks.epoch_log import EpochLog
    from raytune_ocr.training.callbacks.tensorboard import TensorBoardLogger

    folder = RunFolder(config.output_dir, config.experiment_name)
    config.save_yaml(folder.config_file)
    monitor = {config.early_stopping_monitor: config.early_stopping_mode}
    settings = {"seed": config.seed, **config.parameters}
    board = TensorBoardLogger(folder.tensorboard, sys.maxsize, settings, monitor)
    return [
        FunctionEarlyStopping.of(config),
        EpochLog(folder.log_file, config.num_epochs),
        *([board] if config.use_tensorboard else []),
        *callbacks,
        BestState(config, folder),
        report,
    ]
