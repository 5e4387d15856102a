"""Errors of trials: what a person is told of them, and what goes to the trial's own log."""

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

LONGEST = 2000  # characters of a message, wherever it is shown; the whole is in the log
FRAMES = 3  # of a user's code that a person is shown
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$')
LIBRARIES = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3[^/\\]*)[/\\]|^<")
OWN_CODE = str(Path(__file__).parents[2])


def disk_full(failure: str) -> ExperimentFailedError:
    """Return the error of a run that a full disk has ended."""
    return ExperimentFailedError(
        f"{failure}; free some space, then run again with --resume; nothing already saved was lost"
    )


def latest_error(trial: Any) -> str:
    """What Ray has written of a trial's last failure: here, before it copies it anywhere.

    It adds all failures up in one file.
    """
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):  # not written, on a full disk
        text = str(trial.get_error() or "no reason is known")
    return text.rsplit("Failure #", 1)[-1]


def message_of(error: str) -> str:
    """The message of an error's text: what follows the last frame of its traceback."""
    lines = error.splitlines()
    last = max((n for n, line in enumerate(lines) if FRAME.match(line)), default=None)
    if last is None:
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    rest = lines[last + 1 :]
    while rest and (rest[0].startswith(" ") or not rest[0]):  # the frame's own line of code
        rest = rest[1:]
    return "\n".join(rest).strip()


def own_frames(error: str) -> list[str]:
    """The last frames of a traceback that are a user's own, as lines of text.

    Those of libraries, and of this package, say little to whoever wrote the model.
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
    """Text of others as it can be shown and kept: bounded, valid UTF-8, no terminal escapes."""
    text = CONTROL.sub("", text[: 2 * LONGEST].encode("utf-8", "replace").decode())
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]} ... (longer; the whole is in {ERROR_LOG})"


def traceback_of(error: BaseException) -> str:
    """The whole traceback of an error, its causes included."""
    return "".join(traceback.format_exception(error))


def as_shown(error: Exception) -> Exception:
    """An error as Ray can write it: itself, or its type and as much of its message as is shown."""
    message = str(error)
    if shown(message) == message:
        return error
    told = ExperimentFailedError(f"{type(error).__name__}: {shown(message)}")
    return told.with_traceback(error.__traceback__)


def log_error(folder: Path, error: str) -> Path | None:
    """Append an error's whole text to the log of the trial in `folder`; returns the log.

    None where it cannot be written, which is told: it must not cost the trial its status.
    """
    path = folder / ERROR_LOG
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8", errors="replace", opener=follow_no_link) as log:
            log.write(error.rstrip("\n") + "\n\n")
    except OSError as problem:
        logger.warning("%s: cannot be written: %s", path, problem.strerror)
        return None
    return path
