"""Errors of trials: short messages for the console, full tracebacks for the trial's log."""

from __future__ import annotations

import logging
import re
import traceback
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.files import follow_no_link
from raytune_ocr.training.checkpoints.run_folder import ERROR_LOG

logger = logging.getLogger(__name__)

LONGEST = 2000  # characters of a shown message; the log has more of it
LONGEST_LOGGED = 1_000_000  # characters of one failure in the log: its first and last half
FRAMES = 3  # of a user's code that are shown
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$')
LIBRARIES = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3[^/\\]*)[/\\]|^<")
OWN_CODE = str(Path(__file__).parents[2])


def disk_full(failure: str) -> ExperimentFailedError:
    """Return the error of a run that ended because the disk is full."""
    return ExperimentFailedError(
        f"{failure}; free some space, then run again with --resume; nothing already saved was lost"
    )


def latest_error(trial: Any) -> str:
    """Return Ray's text of a trial's last failure, from the local file that has all failures."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):  # not written, on a full disk
        text = str(trial.get_error() or "unknown reason")
    return text.rsplit("Failure #", 1)[-1]


def message_of(error: str) -> str:
    """Return the message of an error's text: the part after the last frame of its traceback."""
    lines = error.splitlines()
    last = max((n for n, line in enumerate(lines) if FRAME.match(line)), default=None)
    if last is None:
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    rest = lines[last + 1 :]
    while rest and (rest[0].startswith(" ") or not rest[0]):  # the frame's own line of code
        rest = rest[1:]
    return "\n".join(rest).strip()


def own_frames(error: str) -> list[str]:
    """Return the last frames of a traceback in a user's own code, as lines of text.

    Frames of libraries and of this package rarely help the author of a model.
    """
    lines = error.splitlines()
    frames = []
    for number, line in enumerate(lines):
        found = FRAME.match(line)
        if found and not _is_foreign(found["file"]):
            code = lines[number + 1].strip() if number + 1 < len(lines) else ""
            frames.append(f"{found['file']}:{found['line']} in {found['function']}: {code}")
    return [shown(frame) for frame in frames[-FRAMES:]]


def _is_foreign(file: str) -> bool:
    return LIBRARIES.search(file) is not None or file.startswith(OWN_CODE)


def shown(text: str) -> str:
    """Return foreign text that is safe to show: bounded, valid UTF-8, no terminal escapes."""
    text = CONTROL.sub("", text[: 2 * LONGEST].encode("utf-8", "replace").decode())
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} ... (cut; {ERROR_LOG} has more)"


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an error, its causes included; `bounded`."""
    return bounded("".join(map(bounded, traceback.format_exception(error))))


def bounded(text: str) -> str:
    """Return `text`, or its start and end with a line that says how much was cut between them."""
    if len(text) <= LONGEST_LOGGED:
        return text
    half = LONGEST_LOGGED // 2
    cut = f"\n... ({len(text) - 2 * half:,} characters cut here) ...\n"
    return text[:half] + cut + text[-half:]


def as_shown(error: Exception) -> Exception:
    """Return an error that Ray can write: itself, or one with its type and shortened message."""
    message = str(error)
    if shown(message) == message:
        return error
    shortened = ExperimentFailedError(f"{type(error).__name__}: {shown(message)}")
    return shortened.with_traceback(error.__traceback__)


def log_error(folder: Path, error: str) -> Path | None:
    """Append an error's text, `bounded`, to the log of the trial in `folder`; return its path.

    If the log cannot be written, log a warning and return None: the trial's status matters more.
    """
    path = folder / ERROR_LOG
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="replace", opener=follow_no_link) as log:
            log.write(bounded(error.rstrip("\n")) + "\n\n")
    except OSError as problem:
        logger.warning("%s: cannot be written: %s", path, problem.strerror)
        return None
    return path
