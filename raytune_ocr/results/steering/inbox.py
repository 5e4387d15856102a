"""The inbox of a run: a folder of order files, and the answers to them.

Another process writes `<id>.json`; the process that runs the run claims it by renaming it to
`<id>.taken`, carries it out, writes `<id>.answer` and removes the claimed file. A driver that was
killed in between finds the claimed file again; the journal says whether it was carried out.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.document_check import integer
from raytune_ocr.results.journal import STATE_FILE, Journal
from raytune_ocr.results.steering.orders import (
    ANNOTATIONS,
    STOP_TRIAL,
    TIMEOUT,
    Answer,
    Order,
    entry_of,
    parse_order,
)
from raytune_ocr.results.steering.run_lock import RunLock, holder

INBOX = "orders"
"""Name of the folder in a run's output folder."""
MOST_BYTES = 65_536  # of an order
MOST_AT_ONCE = 50  # orders that are taken together
POLL_SECONDS = 0.05
WAITING, CLAIMED, ANSWER = ".json", ".taken", ".answer"
FILE = re.compile(r"[0-9a-f]{16}(\.json|\.taken)")


class Inbox:
    """The order files of a run.

    Args:
        folder: the run's output folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / INBOX

    # For the process that runs the run

    def take(self) -> Iterator[Order | tuple[str, str]]:
        """Yield the waiting orders, the oldest first; of a bad one its id and what is wrong.

        Each must be answered before the next one is taken.
        """
        with self._opened() as folder:
            if folder is None:
                return
            for name in _waiting(folder):
                order_id = name.partition(".")[0]
                try:
                    os.rename(name, order_id + CLAIMED, src_dir_fd=folder, dst_dir_fd=folder)
                    order = parse_order(_read(folder, order_id + CLAIMED))
                    bad = order.id != order_id
                except FileNotFoundError:  # its sender has withdrawn it
                    continue
                except (ConfigurationError, OSError) as error:
                    yield order_id, str(error)
                    continue
                yield (order_id, "order: id: must be the name of its file") if bad else order

    def answer(self, order_id: str, answer: Answer) -> None:
        """Write the answer to an order that was taken."""
        with self._opened() as folder:
            if folder is not None:
                _write(folder, order_id + ANSWER, asdict(answer))
                with suppress(FileNotFoundError):
                    os.unlink(order_id + CLAIMED, dir_fd=folder)

    def clear(self) -> None:
        """Remove all orders and answers, before a new run starts."""
        with self._opened() as folder:
            if folder is None:
                return
            for name in _names(folder):
                if re.fullmatch(r"\.?[0-9a-f]{16}\.\w+", name):
                    with suppress(OSError):
                        os.unlink(name, dir_fd=folder)
        with suppress(OSError):
            self.folder.rmdir()  # only if it is empty

    # For the process that gives an order

    def send(self, order: Order) -> None:
        """Write an order file.

        Raises:
            ConfigurationError: the folder cannot be written, or is not this user's.
        """
        try:
            with suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            with self._opened() as folder:
                if folder is None:
                    raise FileNotFoundError(2, "no such folder")
                _write(folder, order.id + WAITING, asdict(order))
        except ValueError:
            raise ConfigurationError(f"{order.action}: numbers must be finite") from None
        except OSError as error:
            raise ConfigurationError(
                f"{self.folder}: cannot leave an order there: {error.strerror or error}; give "
                "orders as the user who started the run"
            ) from None

    def answer_to(self, order: Order) -> Answer | None:
        """Fetch the answer to an order; None: there is none yet."""
        with self._opened() as folder:
            if folder is None:
                return None
            try:
                content = _read(folder, order.id + ANSWER)
            except FileNotFoundError:
                return None
            os.unlink(order.id + ANSWER, dir_fd=folder)
        return Answer(content.get("accepted") is True, str(content.get("reason", ""))[:MOST_BYTES])

    def withdraw(self, order: Order) -> bool:
        """Remove an order that nobody has taken; return whether it was still there."""
        with self._opened() as folder:
            if folder is None:
                return True
            try:
                os.unlink(order.id + WAITING, dir_fd=folder)
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Yield the folder, open; None if there is none. A link is not followed."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            folder = os.open(self.folder, flags)
        except FileNotFoundError:
            yield None
            return
        try:
            _check_owner(os.fstat(folder), self.folder)
            yield folder
        finally:
            os.close(folder)


def send_order(
    run_folder: str | os.PathLike[str],
    order: Order,
    timeout: float = TIMEOUT,
    *,
    queue: bool = False,
) -> Answer:
    """Give an order to the process that runs a run, and wait for its answer.

    While no process runs the run, notes and tags are written to the journal; other orders are
    refused.

    Args:
        run_folder: the run's output folder.
        timeout: seconds to wait; then the order is withdrawn.
        queue: leave an order that no process can answer for the next `--resume`.

    Raises:
        ConfigurationError: the folder holds no run, or no order can be left there.
    """
    folder = Path(run_folder)
    if not Journal(folder).exists():
        raise ConfigurationError(f"{folder}: holds no run (no {STATE_FILE})")
    if holder(folder):
        return _ask(folder, order, timeout)
    if order.action in ANNOTATIONS:
        return _annotate(folder, order)
    if not queue or (order.action == STOP_TRIAL and order.trial is None):
        return Answer(False, "no process runs it: resume it first, or queue the order for a resume")
    Inbox(folder).send(order)
    return Answer(True, "no process runs it: queued for its next --resume")


def _ask(folder: Path, order: Order, timeout: float) -> Answer:
    inbox, end = Inbox(folder), time.monotonic() + timeout
    inbox.send(order)
    while True:
        answer = inbox.answer_to(order)
        if answer is not None:
            return answer
        if time.monotonic() >= end or not holder(folder):
            break
        time.sleep(POLL_SECONDS)
    if inbox.withdraw(order):
        why = f"no answer within {timeout:g} s" if holder(folder) else "the run has just ended"
        return Answer(False, f"{why}; the order was withdrawn")
    time.sleep(min(1.0, timeout))  # it was taken just now
    return inbox.answer_to(order) or Answer(False, "taken, but not answered; look at the run")


def _annotate(folder: Path, order: Order) -> Answer:
    """Write a note or tag to the journal of a run that no process runs."""
    with RunLock(folder):
        journal = Journal(folder)
        replay = journal.read()
        if order.trial is not None and order.trial not in replay.trials:
            return Answer(False, f"there is no trial {order.trial}")
        trial = replay.trials.get(order.trial or "")
        journal.open()
        try:
            journal.append_decisions([entry_of(order, len(trial.epochs) if trial else 0)])
        finally:
            journal.close()
    return Answer(True, "written to the journal")


def _waiting(folder: int) -> list[str]:
    """Return the names of order files, the oldest first."""
    names = [name for name in _names(folder) if FILE.fullmatch(name)]
    return sorted(names, key=lambda name: (-_age(folder, name), name))[:MOST_AT_ONCE]


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _age(folder: int, name: str) -> float:
    try:
        return time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
    except OSError:
        return 0.0


def _check_owner(status: os.stat_result, path: Path | str) -> None:
    if status.st_uid != os.geteuid():
        raise PermissionError(1, f"{path} belongs to another user")


def _read(folder: int, name: str) -> Any:
    """Return the content of a file of this user.

    Raises:
        FileNotFoundError: there is none.
        ConfigurationError: it is not a regular file, too large, or not JSON.
    """
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise ConfigurationError(f"order: must be a file of at most {MOST_BYTES} bytes")
        _check_owner(status, name)
        text = opened.read(MOST_BYTES + 1)
    try:
        return json.loads(text, parse_int=integer, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"order: must be JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _write(folder: int, name: str, content: Any) -> None:
    """Write a file aside, readable by this user only, and give it its name."""
    aside = f".{secrets.token_hex(8)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(aside, flags, 0o600, dir_fd=folder)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(json.dumps(content, allow_nan=False).encode())
        os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(aside, dir_fd=folder)
        raise
