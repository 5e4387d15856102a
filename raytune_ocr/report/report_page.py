"""Write the report of runs: sections with tables and figures on one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raytune_ocr import plots
from raytune_ocr.config.changes import PARAMETER
from raytune_ocr.config.metrics import READER, task_name
from raytune_ocr.data.split_files import load_split
from raytune_ocr.errors import DataNotFoundError, RaytuneOCRError
from raytune_ocr.files import replacing
from raytune_ocr.inference.calibration import cross_fitted, expected_error, fit, reliability
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.inference.model_card import confidences, precision_note
from raytune_ocr.inference.reading import read_images
from raytune_ocr.report.cost import fill_cost
from raytune_ocr.report.html import Section, dark, page
from raytune_ocr.results import analysis
from raytune_ocr.results.decision import CONTINUE, EXPLOIT, Decision
from raytune_ocr.results.document import read_document
from raytune_ocr.results.importance import ESTIMATOR, FEWEST_TRIALS, importance, varied
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.replay import Replay
from raytune_ocr.results.run_folders import run_folders, why_gone
from raytune_ocr.results.tables import load_results, write_csv
from raytune_ocr.tasks.registry import figure_names
from raytune_ocr.training import load_reader
from raytune_ocr.training.evaluate import measure
from raytune_ocr.vocabulary import DIGITS

WORST = 12
COUNTS = ("experiment_name", "epoch")
NOT_SET = "not set"


class Writer:
    """Figures and tables of one report, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def figure(
        self, name: str, draw: Callable[[Any], None], size: tuple[float, float] = (6.8, 4)
    ) -> Path:
        """Return the path of a new PNG; its dark version is in `dark/`."""
        path = self.folder / f"{name}.png"
        plots.save_figure(path, draw, size)
        plots.save_figure(dark(path), draw, size, dark=True)
        return path

    def table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """Write a table as CSV and Parquet, and return it."""
        write_csv(self.folder / f"{name}.csv", table)
        as_text = [column for column in table if _has_no_kind(table[column])]
        with replacing(self.folder / f"{name}.parquet") as aside:
            table.astype(dict.fromkeys(as_text, str)).to_parquet(aside, index=False)
        return table


def _has_no_kind(column: pd.Series) -> bool:
    """Whether Parquet has no type for a column: mixed types, or mappings, which may be empty."""
    kinds = {type(value) for value in column.dropna()} if column.dtype == object else set()
    return len(kinds) > 1 or dict in kinds


def write_report(
    sources: Sequence[Path], folder: Path, data: str | None = None, refresh: int = 0
) -> Path:
    """Write `report.html`, PNGs, CSVs and Parquet files; return the page's path.

    Raises:
        DataNotFoundError, ConfigurationError: a source has no results.
    """
    for source in sources:
        read_document(source)  # raises before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    if len(sources) > 1:
        sections.append(_side_by_side(sources, Writer(folder)))
    for number, source in enumerate(sources, 1):
        several = len(sources) > 1
        writer = Writer(folder / f"run{number}" if several else folder)
        for section in run_sections(source, writer, data):
            if several:
                section.name = f"run{number}-{section.name}"
                section.title = f"Run {number}: {section.title}"
            sections.append(section)
    path = folder / "report.html"
    with replacing(path) as aside:
        title = "Tuning report" if len(sources) > 1 else f"Tuning report: {sources[0].name}"
        aside.write_text(page(title, sections, refresh), encoding="utf-8")
    return path


def _side_by_side(sources: Sequence[Path], writer: Writer) -> Section:
    table = writer.table("runs", analysis.compare(sources))
    table = table.assign(source=[f"run {n}: {s}" for n, s in enumerate(sources, 1)])
    return Section("runs", "Runs side by side", "Times in seconds.", tables=[table])


def run_sections(source: Path, writer: Writer, data: str | None) -> list[Section]:
    """Return all sections of one run; sections without content say why."""
    table = load_results(source)
    if table.empty:
        table = table.reindex(columns=["experiment_name", "status", "training_time"])
    parts: list[tuple[Section, Callable[..., None]]] = [
        (Section("ranking", "Ranking and targets"), partial(_ranking, source)),
        (Section("confirmation", "Confirmation with fresh seeds"), partial(_confirmation, source)),
        (Section("curves", "Learning curves"), partial(_curves, source)),
        (Section("parallel", "Parallel coordinates"), partial(_parallel, source)),
        (Section("importance", "Importance of settings"), partial(_importance, source)),
        (Section("pareto", "Pareto front: score against cost"), _pareto),
        (
            Section("winner", "Confusion matrix and worst readings of the best model"),
            partial(_winner, source, data),
        ),
        (
            Section("confidence", "Calibration of the confidence"),
            partial(_confidence, source, data),
        ),
        (Section("resources", "Time and resources"), partial(_resources, source)),
        (Section("cost", "Cost"), partial(fill_cost, source)),
        (Section("failures", "Failures"), _failures),
    ]
    for section, fill in parts:
        try:
            fill(table, section, writer)
        except RaytuneOCRError as error:
            section.note = str(error)
    return [section for section, _ in parts]


def _ranking(source: Path, table: pd.DataFrame, section: Section, writer: Writer) -> None:
    writer.table("trials", table)
    targets = writer.table("targets", analysis.targets_table(source))
    wanted = ["experiment_name", *_settings(table), *_figures(table), "status", "stop_reason"]
    wanted += ["best_epoch", "total_epochs", "training_time"]
    section.tables = [table[[name for name in wanted if name in table]]]
    section.text = "Best first; accuracies from 0 to 1, times in seconds."
    if len(targets):
        section.tables.append(targets)
    else:
        section.note = "The YAML sets no targets."
    if going := analysis.unfinished(source):
        section.text += f" Still training: {', '.join(f'{n} (epoch {e})' for n, e in going)}."


def _settings(table: pd.DataFrame) -> list[str]:
    """The settings that differ between the trials; all of them if none does."""
    known = ["model_name", "batch_size", "learning_rate"]
    known += [name for name in map(str, table) if name.startswith(PARAMETER)]
    present = [name for name in known if name in table]
    return [name for name in present if table[name].astype(str).nunique() > 1] or present


def _figures(table: pd.DataFrame) -> list[str]:
    """The columns that trials are judged by: those of known tasks, else what was followed."""
    known = [name for name in figure_names() if name in table]
    return known or [name for name in ("best_metric", "best_value") if name in table]


def _confirmation(source: Path, table: pd.DataFrame, section: Section, writer: Writer) -> None:
    found, verdict = analysis.confirmed(source)
    figures = writer.table("held_out", analysis.held_out(source))
    if len(figures):
        section.tables.append(figures)
        section.text = "Only the winner was evaluated on the test split, after it was chosen."
    if found.empty:
        section.note = verdict or _not_begun(_journal(source).about.get("confirm") or 0)
        return
    writer.table("confirmation", found)
    section.text = (
        f"{verdict} Bars: 95 % bootstrap of the mean, too narrow for few seeds. {section.text}"
    )
    wide = found.pivot(index="experiment_name", columns="seed", values="score")
    mean = found.drop_duplicates("experiment_name").drop(columns=["seed", "score"])
    section.tables.insert(0, mean.merge(wide.add_prefix("seed "), on="experiment_name"))
    rows = [
        (row.experiment_name, wide.loc[row.experiment_name].dropna().tolist(), *row[2:])
        for row in mean[["experiment_name", "metric", "mean", "low", "high"]].itertuples(False)
    ]
    draw = partial(plots.draw_confirmation, rows=rows, word=found["metric"].iloc[0])
    section.pictures = [writer.figure("confirmation", draw, (6.8, 1.2 + 0.5 * len(rows)))]


def _not_begun(candidates: int) -> str:
    if candidates:
        return f"After the search, the {candidates} best trials train again with fresh seeds."
    return "Not confirmed; to train the K best trials again with fresh seeds, pass --confirm K."


def _curves(source: Path, table: pd.DataFrame, section: Section, writer: Writer) -> None:
    curves = writer.table("epochs", analysis.learning_curves(source))
    if curves.empty:
        raise DataNotFoundError(_why_no_curves(source))
    followed = table["best_metric"].dropna() if "best_metric" in table else ()
    names = ("val_char_accuracy", "val_accuracy", *dict.fromkeys(followed), "val_loss", *curves)
    word = next(n for n in names if n in curves and n not in COUNTS and curves[n].notna().any())
    stops: dict[str, str] = {}
    if "stop_reason" in table:
        stops = dict(zip(table["experiment_name"], table["stop_reason"], strict=True))
    rows_of = {str(name): rows for name, rows in curves.groupby("experiment_name", sort=False)}
    place = {name: number for number, name in enumerate(table["experiment_name"])}
    lines = {
        f"{name} ({stops.get(name) or 'running'})": (
            rows_of[name]["epoch"].tolist(),
            rows_of[name][word].tolist(),
        )
        for name in sorted(rows_of, key=lambda name: place.get(name, len(place)))
    }
    rungs = _rungs(source)
    which = "each trial" if len(lines) <= plots.NAMED else f"each of the {plots.NAMED} best trials"

    def draw(figure: Any) -> None:
        plots.draw_trial_curves(figure, lines, word)
        plots.draw_rungs(figure, rungs)

    section.pictures = [writer.figure("curves", draw)]
    section.text = f"In brackets: why {which} ended. " + (
        f"Dotted lines: rungs at epochs {', '.join(map(str, rungs))}, where trials are compared."
        if rungs
        else "No rungs were recorded."
    )


def _why_no_curves(source: Path) -> str:
    _, document = read_document(source)
    return why_gone(document) or "The results' folder has no epochs.csv."


def _rungs(source: Path) -> list[int]:
    return rungs_of(_journal(source).decisions)


def rungs_of(decisions: Iterable[Decision]) -> list[int]:
    """Return the epochs at which several trials were compared.

    A rule without fixed epochs, such as the median rule, has none.
    """
    return sorted({each.epoch for each in decisions if each.decision in (CONTINUE, EXPLOIT)})


def _journal(source: Path) -> Replay:
    """Return the run's journal beside its results or in its output folder, else an empty one."""
    path, document = read_document(source)
    for folder in run_folders(path, document):
        if (journal := Journal(folder)).exists():
            return journal.read()
    return Replay()


def _parallel(source: Path, table: pd.DataFrame, section: Section, writer: Writer) -> None:
    settings = varied(source)
    _, document = read_document(source)
    settings["score"] = [analysis.score_of(result) for result in document["all_results"]]
    settings = settings[settings["score"].notna()]
    if len(settings) < 2 or len(settings.columns) < 2:
        raise DataNotFoundError(
            "This section needs at least two trials with a score that differ in a setting."
        )
    writer.table("settings", settings)
    shown = settings.astype(object).where(settings.notna(), NOT_SET)
    scores = shown.pop("score").tolist()
    columns = {name: shown[name].tolist() for name in shown}
    draw = partial(plots.draw_parallel, columns=columns, scores=scores, word="score")
    section.pictures = [writer.figure("parallel", draw, (max(6.8, 1.1 * len(columns)), 4.5))]
    section.text = (
        "One line per trial, lighter for better scores; only settings that differ, with their "
        f"values in the last epoch ({NOT_SET}: not set, or without effect)."
    )


def _importance(source: Path, table: pd.DataFrame, section: Section, writer: Writer) -> None:
    found = writer.table("importance", importance(source))
    section.text = (
        f"Estimator: {ESTIMATOR}. One setting at a time, without interactions; settings that vary"
        " together share their importance. An importance below chance is noise."
    )
    if found.empty:
        few = FEWEST_TRIALS
        raise DataNotFoundError(f"An estimate needs at least {few} trials with a score.")
    rows = list(found.iloc[:, :5].itertuples(index=False, name=None))
    size = (6.8, 1.2 + 0.35 * len(rows))
    section.pictures = [
        writer.figure("importance", partial(plots.draw_importance, rows=rows), size)
    ]
    section.tables = [found]


def _pareto(table: pd.DataFrame, section: Section, writer: Writer) -> None:
    front = writer.table("pareto", analysis.pareto(table))
    points = list(front.itertuples(index=False, name=None))
    word = analysis.score_name(table)
    draw = partial(plots.draw_pareto, points=points, word=word)
    section.pictures, section.tables = [writer.figure("pareto", draw)], [front]
    section.text = (
        "Red: the Pareto front, where no cheaper trial is as good. Stopped trials cost less."
    )


def _winner_and_split(source: Path, data: str | None) -> tuple[Any, Any, Any]:
    """Return the winner, its config and its validation split."""
    path, document = read_document(source)
    config = (document.get("best_result") or {}).get("config") or {}
    if config and task_name(config) != READER:
        raise DataNotFoundError("Only for digit recognition models.")
    model, config = load_reader(find_checkpoint(path))
    return model, config, load_split(data or config.metadata_path, config.val_split)


def _winner(
    source: Path, data: str | None, table: pd.DataFrame, section: Section, writer: Writer
) -> None:
    model, config, split = _winner_and_split(source, data)
    read = read_images(model, split.images)
    figures = measure(model, split).get_confusion_matrix()
    section.pictures = [
        writer.figure("confusion", partial(plots.draw_confusion_matrix, matrix=figures), (5, 5))
    ]
    plain = str.maketrans(DIGITS, "0123456789")
    rows = [
        (number, wanted, text, confidence)
        for number, ((text, confidence), wanted) in enumerate(zip(read, split.texts, strict=True))
        if text != wanted
    ]
    worst = sorted(rows, key=lambda row: -row[3])
    columns = ["image", "there", "read", "confidence"]
    writer.table("misread", pd.DataFrame(worst, columns=columns))
    section.text = (
        f"{config.experiment_name} on {config.val_split}: {len(rows)} of {len(split)} strings"
        f" misread. {precision_note(config)} Below: the wrong predictions with the highest"
        " confidence."
    )
    if rows:
        titles = [
            f"{b.translate(plain) or 'nothing'} for {a.translate(plain)} ({c:.2f})"
            for _, a, b, c in worst[:WORST]
        ]
        images = np.stack([split.images[row[0]] for row in worst[:WORST]])
        draw = partial(plots.draw_readings, images=images, titles=titles)
        section.pictures.append(writer.figure("worst", draw, (6.8, 1.3 * ((len(images) + 3) // 4))))


def _confidence(
    source: Path, data: str | None, table: pd.DataFrame, section: Section, writer: Writer
) -> None:
    model, config, split = _winner_and_split(source, data)
    sure, right = confidences(model, split)
    series = {
        "as it is": reliability(sure, right),
        "calibrated": reliability(cross_fitted(sure, right), right),
    }
    rows = [(name, *each) for name, bins in series.items() for each in bins]
    columns = ["kind", "confidence", "right", "images"]
    writer.table("reliability", pd.DataFrame(rows, columns=columns))
    draw = partial(plots.draw_reliability, series=series)
    section.pictures = [writer.figure("reliability", draw, (5, 5))]
    slope, offset = fit(sure, right)
    before, after = (expected_error(bins) for bins in series.values())
    section.text = (
        f"Readings of {config.val_split} by confidence, with a second look at doubtful ones. "
        f"Expected calibration error {before:.4f} without and {after:.4f} with Platt scaling "
        f"(two-fold cross-fit). Fit on all images: slope {slope:.3f}, offset {offset:.3f}. "
        "`export` stores such a fit with the model, and `predict` applies it."
    )


def _resources(source: Path, table: pd.DataFrame, section: Section, writer: Writer) -> None:
    curves = analysis.learning_curves(source)
    if curves.empty:
        raise DataNotFoundError(_why_no_curves(source))
    how = {"seconds": "sum", "images_per_second": "median", "memory_mb": "max"}
    how |= {"cpu_percent": "mean", "gpu_memory_mb": "max"}
    present = {name: kind for name, kind in how.items() if name in curves}
    used = curves.groupby("experiment_name", sort=False).agg(present).reset_index()
    section.tables = [writer.table("resources", used)]
    section.text = "Total seconds, median images per second, peak memory in MiB, mean CPU percent."


def _failures(table: pd.DataFrame, section: Section, writer: Writer) -> None:
    failed = writer.table("failures", analysis.failures(table))
    if failed.empty:
        section.note = "No trial failed."
    else:
        section.tables = [failed]
