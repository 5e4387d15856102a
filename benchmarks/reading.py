"""How well and how fast readers read: families used in training and left out, clean and degraded.

    python -m benchmarks.reading --ours hyperparameter_tuning_results_20250101_120000.json
    python -m benchmarks.reading --ours best_model.pt --no-others             # seconds
    python -m benchmarks.reading --ours reader/ --real scans/ --fonts-dir fonts/
    python -m benchmarks.reading --speed ctc_small small --against v0.1      # speed alone, paired

Strings are rendered from font files by Pillow (`judged.py` says how), saved as PNGs, and read by
all from there: by our checkpoints, by Tesseract and by khmer-ocr-ocm, on one core each. What is
left out of training are the development families; a checkpoint of the default data has seen them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein

from benchmarks.support import judged_images as judged
from benchmarks.support.checkouts import ROOT, checkout
from benchmarks.support.judged_images import LEFT_OUT, TRAINED, Cell
from benchmarks.support.other_readers import (
    KhmerOcrOcm,
    NotInstalledError,
    Ours,
    Preparation,
    Reader,
    Tesseract,
)
from benchmarks.support.reading_speed import HERE, measure, write_images
from benchmarks.support.report import paired_ratio, table, write
from raytune_ocr.errors import RaytuneOCRError
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.statistics import wilson
from raytune_ocr.training.device import autocast_dtype

TARGETS = {  # character and sequence accuracy that our best preset is to reach
    f"{TRAINED}, clean": (0.998, 0.99),
    f"{TRAINED}, degraded": (0.993, 0.975),
    f"{LEFT_OUT}, clean": (0.99, 0.96),
    f"{LEFT_OUT}, degraded": (0.97, 0.92),
}
REAL_TARGET = (0.90, None)
PILOT = 32  # images of each cell on which the preparations of the others are compared

OTHERS: dict[str, list[tuple[str, Callable[[], Reader]]]] = {
    "Tesseract khm": [
        (f"psm {psm}, {prepare}", lambda psm=psm, prepare=prepare: Tesseract(prepare, psm))
        for psm, prepare in (
            (13, Preparation(6)),
            (13, Preparation(10)),
            (7, Preparation(10)),
            (13, Preparation(10, height=48)),
            (13, Preparation(10, height=48, threshold=True)),
            (7, Preparation(None)),
        )
    ],
    "khmer-ocr-ocm": [
        (f"letterboxed, {prepare}", lambda prepare=prepare: KhmerOcrOcm(prepare))
        for prepare in (Preparation(6), Preparation(10), Preparation(14), Preparation(None))
    ],
}


def named(readers: Sequence[Ours]) -> dict[str, Ours]:
    """Ours by the names of their trials, numbered where two have the same."""
    result: dict[str, Ours] = {}
    for reader in readers:
        name = f"ours, {reader.config.experiment_name}" + ", bf16" * reader.mixed_precision
        name += ", one look" * (not reader.second_look)
        same = sum(other.split(" (")[0] == name for other in result)
        result[f"{name} ({same + 1})" if same else name] = reader
    return result


def score(texts: Sequence[str], wanted: Sequence[str]) -> dict[str, Any]:
    """Accuracies of what was read, as the trainers count them: digit by digit, place by place."""
    pairs = list(zip(texts, wanted, strict=True))
    digits = sum(map(len, wanted))
    right = sum(text == target for text, target in pairs)
    return {
        "char": sum(a == b for text, target in pairs for a, b in zip(text, target, strict=False))
        / digits,
        "seq": right / len(pairs),
        "seq 95 %": tuple(wilson(right, len(pairs))),
        "cer": sum(Levenshtein.distance(text, target) for text, target in pairs) / digits,
    }


def prepared_best(name: str, cells: Sequence[Cell]) -> tuple[str, Reader, list[dict[str, Any]]]:
    """The variant of a reader that does best on the first images of all cells, and all tried.

    They are images that it will be judged on: whatever that gives away is given to the others.
    """
    tried = []
    for label, make in OTHERS[name]:
        reader = make()
        found = [score(reader.read(c.files[:PILOT]), c.texts[:PILOT]) for c in cells]
        mean = {k: statistics.mean(cell[k] for cell in found) for k in ("char", "seq")}
        tried.append({"reader": name, "prepared": label, **mean})
    best = max(range(len(tried)), key=lambda i: tried[i]["char"] + tried[i]["seq"])
    label, make = OTHERS[name][best]
    return label, make(), tried


def race(readers: dict[str, Reader], cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row for each reader and cell; on each cell they take turns."""
    rows = []
    for cell in cells:
        for name, reader in readers.items():
            reader.read(cell.files[:8])  # whatever is done once
            started = time.perf_counter()
            texts = reader.read(cell.files)
            seconds = time.perf_counter() - started
            rows.append(
                {
                    "reader": name,
                    "images": cell.name,
                    **score(texts, cell.texts),
                    "images/s": len(texts) / seconds,
                    "count": len(texts),
                    "families": by_family(texts, cell),
                }
            )
    return rows


def by_family(texts: Sequence[str], cell: Cell) -> dict[str, float]:
    """Sequence accuracy of each family of a rendered cell, the worst first."""
    right: dict[str, list[bool]] = {}
    for text, target, family in zip(texts, cell.texts, cell.families, strict=False):
        right.setdefault(family, []).append(text == target)
    shares = {family: statistics.mean(found) for family, found in right.items()}
    return dict(sorted(shares.items(), key=lambda item: item[1]))


def against_targets(rows: Iterable[dict[str, Any]], real: str | None) -> list[dict[str, Any]]:
    """What our readers reached of what they were to reach."""
    targets: dict[str, tuple[float, float | None]] = {**TARGETS}
    if real:
        targets[real] = REAL_TARGET
    return [
        {
            "reader": row["reader"],
            "images": row["images"],
            "char": row["char"],
            "at least": char,
            "seq": row["seq"],
            "at least ": seq,
            "reached": "yes" if row["char"] >= char and row["seq"] >= (seq or 0) else "no",
        }
        for row in rows
        if row["images"] in targets
        for char, seq in [targets[row["images"]]]
    ]


def speeds(rows: Sequence[dict[str, Any]], ours: str, others: Iterable[str]) -> dict[str, float]:
    """How many times as fast as the others one of ours is, median over the cells."""
    by = {
        name: [row["images/s"] for row in rows if row["reader"] == name] for name in (ours, *others)
    }
    return {name: paired_ratio(by[ours], by[name]) for name in others}


def judged_cells(arguments: argparse.Namespace, folder: Path) -> tuple[list[Cell], dict[str, Any]]:
    """The cells, and which faces are in them."""
    groups = judged.find_faces(arguments.fonts_dir, folder)
    cells = []
    for group in (TRAINED, LEFT_OUT, judged.OTHER):
        for number, kind in enumerate(("clean", "degraded")):
            if group in groups:
                place = folder / f"{group} {kind}"
                seed = arguments.seed + number
                cell = (f"{group}, {kind}", groups[group], arguments.samples, place, seed)
                cells.append(judged.rendered(*cell, degraded=kind == "degraded"))
    if LEFT_OUT not in groups or TRAINED not in groups:
        print(
            "some families are not installed: apt-get install fonts-khmeros fonts-sil-mondulkiri "
            "fonts-noto-core, and --fonts-dir with npm's @fontsource packages"
        )
    if arguments.real:
        cells.append(judged.real(arguments.real))
    return cells, {name: sorted(face.name for face in faces) for name, faces in groups.items()}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--ours",
        nargs="+",
        metavar="FILE",
        help="results JSONs, trials' folders or best_model.pt (default: the newest results JSON "
        "of the current folder)",
    )
    parser.add_argument("--samples", type=int, default=400, help="images a cell (default 400)")
    parser.add_argument("--seed", type=int, default=7, help="of the images (default 7)")
    parser.add_argument(
        "--fonts-dir", action="append", default=[], metavar="DIR", help="more fonts, .woff2 too"
    )
    parser.add_argument("--real", metavar="DIR", help="real images: labels.csv or folder per class")
    parser.add_argument("--no-others", action="store_true", help="our readers alone")
    parser.add_argument("--images", metavar="DIR", help="keep the judged images there")
    parser.add_argument(
        "--speed",
        nargs="+",
        metavar="MODEL",
        help="measure nothing but how fast presets (untrained, one look) or checkpoints predict",
    )
    parser.add_argument(
        "--against", metavar="REV", help="for --speed: a git revision to take turns with"
    )
    parser.add_argument(
        "--pairs", type=int, default=7, help="for --speed: rounds of turns (default 7)"
    )
    parser.add_argument("--no-write", action="store_true", help="leave results/reading.json alone")
    return parser


def newest_results() -> list[str]:
    """The results JSON that a run left in the current folder last."""
    found = sorted(Path().glob("hyperparameter_tuning_results_*.json"))
    if not found:
        raise SystemExit(
            "no hyperparameter_tuning_results_*.json here: run python -m raytune_ocr.tune first, "
            "or name a results JSON, a trial's folder or a best_model.pt with --ours"
        )
    return [str(found[-1])]


def speed_alone(arguments: argparse.Namespace, precisions: Sequence[bool]) -> None:
    """Measure, print and write what `--speed` asks for, on composed images."""
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as until_the_end:
        files = write_images(Path(temporary), arguments.samples, arguments.seed)
        sources = {HERE: ROOT}
        if arguments.against:
            sources[arguments.against] = until_the_end.enter_context(checkout(arguments.against))
        rows = [
            measure(model, files, sources, mixed, arguments.pairs)
            for model in arguments.speed
            for mixed in precisions
        ]
    print(table(rows))
    if not arguments.no_write:
        print(write("reading_speed", {"images": arguments.samples, "rows": rows}))


def main(argv: Sequence[str] | None = None) -> None:
    """Render, read, print, write."""
    arguments = build_parser().parse_args(argv)
    torch.set_num_threads(1)
    precisions = (False, True) if autocast_dtype(torch.device("cpu")) else (False,)
    if arguments.speed:
        speed_alone(arguments, precisions)
        return
    checkpoints = [find_checkpoint(name) for name in arguments.ours or newest_results()]
    variants = [(mixed, True) for mixed in precisions] + [(False, False)]
    own = named([Ours(path, *variant) for path in checkpoints for variant in variants])
    readers: dict[str, Reader] = {**own}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.images or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cells, faces = judged_cells(arguments, folder)
        tried, prepared = [], {}
        for name in [] if arguments.no_others else OTHERS:
            try:
                prepared[name], readers[name], preparations = prepared_best(name, cells)
                tried += preparations
            except NotInstalledError as error:
                print(f"{name} is left out: {error}")
        rows = race(readers, cells)
        fast = [measure("ctc_small", cells[0].files, {HERE: ROOT}, mixed) for mixed in precisions]
    ours = [row for row in rows if row["reader"] in own]
    judgement = against_targets(ours, Path(arguments.real).name if arguments.real else None)
    ratios = {reader: speeds(rows, reader, prepared) for reader in own}
    for reader, faster in ratios.items():
        for name, ratio in faster.items():
            print(f"{reader} reads {ratio:.0f} times as fast as {name} ({prepared[name]})")
    shown = [{k: v for k, v in row.items() if k != "families"} for row in rows]
    print("\n".join(table(part) + "\n" for part in (shown, judgement, fast) if part))
    content = {
        "samples": arguments.samples,
        "seed": arguments.seed,
        "clean": judged.CLEAN,
        "degraded": judged.DEGRADED,
        "faces": faces,
        "times as fast as": ratios,
        "rows": rows,
        "targets": judgement,
        "speed, one core, PNG decoding included": fast,
        "preparations tried": tried,
        "prepared": prepared,
    }
    if not arguments.no_write:
        print(write("reading", content))


if __name__ == "__main__":
    try:
        main()
    except RaytuneOCRError as error:
        sys.exit(f"error: {error}")
