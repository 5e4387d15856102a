"""Check that each node of a cluster can reach the run's files and import what trials need.

Nodes that are up are checked before any trial starts. On a node that joins later, each trial first
reads the driver's marker file.
"""

from __future__ import annotations

import re
import secrets
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from raytune_ocr.errors import ConfigurationError, StorageUnreachableError
from raytune_ocr.plugins import import_modules
from raytune_ocr.tune.storage.storage import Storage

FOLDER = ".probe"
PROBE_SECONDS = 60.0
TRIES, PAUSE = 4, 3.0  # a node may be going away; seconds
CRASHED, IMPORT = "cannot run this package", "cannot do this: import"
ELSEWHERE = "--storage: name a folder or a URI that every node can read and write"
BLIND = re.compile(r"StorageUnreachableError: (?P<problem>.*: node \S+ \((?P<node>\w+)\) .*)")


class Mark:
    """A marker file that the driver writes where the run is stored; every node must read it.

    Args:
        storage: where the run is stored.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.word = secrets.token_hex(8)

    def leave(self) -> None:
        """Write the file; raise ConfigurationError if that fails."""
        try:
            self.storage.write(f"{FOLDER}/driver", self.word.encode())
        except OSError as error:
            raise ConfigurationError(
                f"{self.storage.place}: cannot be written to: {error}; {ELSEWHERE}"
            ) from None

    def remove(self) -> None:
        """Remove the file."""
        self.storage.remove_folder(FOLDER)

    def problem(self) -> str:
        """Return why this node cannot run trials; "" if it can."""
        try:
            if self.storage.read(f"{FOLDER}/driver") != self.word.encode():
                return "reads other content than the driver wrote"
        except OSError as error:
            return f"cannot read or write it: {error}"
        return ""

    def look(self) -> None:
        """Check that this node can read the file; called before each trial.

        Raises:
            StorageUnreachableError: it cannot.
        """
        import ray

        if why := self.problem():
            node, address = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
            raise StorageUnreachableError(f"{self.storage.place}: node {address} ({node}) {why}")


def check_nodes(mark: Mark, imports: Sequence[str]) -> None:
    """Check every node that is up; nodes that are lost meanwhile do not count.

    Raises:
        ConfigurationError: lists every node that cannot be used, and why.
    """
    problems = _ask(mark, imports)
    for _ in range(TRIES - 1):
        if not any(CRASHED in problem for problem in problems):
            break
        time.sleep(PAUSE)  # until Ray has noticed that the node is gone
        problems = _ask(mark, imports)
    if problems:
        blind = any(IMPORT not in problem for problem in problems)
        raise ConfigurationError("\n".join([*problems, *([ELSEWHERE] if blind else [])]))


def _ask(mark: Mark, imports: Sequence[str]) -> list[str]:
    """Return the problems of the nodes that are up."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(num_cpus=0, max_retries=0)(_probe)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        probe.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(mark, node["NodeID"], list(imports))
        for node in nodes
    ]
    import_module("ray.tune")  # needed next; takes about as long as the nodes' answers
    ray.wait(answers, num_returns=len(answers), timeout=PROBE_SECONDS)
    return sorted(
        f"{mark.storage.place}: node {node['NodeManagerAddress']} ({node['NodeID'][:8]}) {why}"
        for node, answer in zip(nodes, answers, strict=True)
        if (why := _problem(mark, node["NodeID"], answer))
    )


def _probe(mark: Mark, node: str, imports: Sequence[str]) -> str:
    """Read the marker, write an answer and import the modules of trials; runs on a node."""
    if why := mark.problem():
        return why
    try:
        mark.storage.write(f"{FOLDER}/{node}", mark.word.encode())
    except OSError as error:
        return f"cannot read or write it: {error}"
    try:
        import_modules(imports)
    except ConfigurationError as error:
        return f"cannot do this: {error}; install the module there, or put it in the working folder"
    return ""


def _problem(mark: Mark, node: str, answer: Any) -> str:
    """Return the problem in a node's answer; "" if none."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    try:
        answered: str = ray.get(answer, timeout=0.1)
        if answered:
            return answered
        seen = mark.storage.read(f"{FOLDER}/{node}")
        return "" if seen == mark.word.encode() else "writes to another place"
    except GetTimeoutError:
        return f"did not answer in {PROBE_SECONDS:g} s"
    except RayError as error:
        return f"{CRASHED}: {str(error).splitlines()[-1]}"
    except OSError as error:
        return f"writes files that the driver cannot read: {error}"


def modules_to_ship(imports: Iterable[str]) -> list[ModuleType]:
    """Return the user's modules, which the driver sends to nodes; nodes must have installed ones.

    Args:
        imports: names of modules that this process has imported.
    """
    installed = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "purelib", "platlib")]
    names = dict.fromkeys(name.partition(".")[0] for name in imports)
    found = [sys.modules[name] for name in names if name in sys.modules]
    return [module for module in found if _is_own(module, installed)]


def _is_own(module: ModuleType, installed: Sequence[Path]) -> bool:
    places = list(getattr(module, "__path__", [])) or [getattr(module, "__file__", None) or ""]
    if len(places) != 1 or not places[0]:  # Ray cannot ship a namespace package
        return False
    place = Path(places[0])
    return (place.is_dir() or place.suffix == ".py") and not any(
        folder in place.parents for folder in installed
    )
