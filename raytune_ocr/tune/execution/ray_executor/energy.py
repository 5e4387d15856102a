"""The energy of a trial: what the machine's own counters say, by the trial's share of it.

GPUs are read by NVML (extra `energy`), CPUs by RAPL, which AMD's processors have as well; most
machines let root alone read that. A trial is charged the share of a device that it has reserved.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

JOULES_OF_KWH = 3.6e6
RAPL = Path("/sys/class/powercap")

logger = logging.getLogger(__name__)


class Counter(Protocol):
    """Counts energy; where it cannot, `joules` raises OSError."""

    def joules(self) -> float:
        """The energy since the counter was made."""


class RaplCounter:
    """The energy of all processor packages of this machine.

    Args:
        folder: of Linux' power capping.

    Raises:
        OSError: there are none, or this user may not read them.
    """

    def __init__(self, folder: Path = RAPL) -> None:
        self._packages = sorted(folder.glob("intel-rapl:[0-9]"))
        if not self._packages:
            raise FileNotFoundError(f"{folder}: has no intel-rapl counters")
        self._last = [_number(package / "energy_uj") for package in self._packages]
        self._ranges = [_number(package / "max_energy_range_uj") for package in self._packages]
        self._total = 0

    def joules(self) -> float:
        """The energy since the counter was made; it may begin anew from 0 once between calls."""
        now = [_number(package / "energy_uj") for package in self._packages]
        for value, last, most in zip(now, self._last, self._ranges, strict=True):
            self._total += value - last if value >= last else value + most - last
        self._last = now
        return self._total / 1e6


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


class NvmlCounter:
    """The energy of the GPUs that this process may use.

    Raises:
        OSError: NVML or one of them is not there, or counts no energy.
    """

    def __init__(self) -> None:
        try:
            import pynvml
        except ImportError as error:
            raise OSError(str(error)) from None
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            self._devices = [self._device(name) for name in _visible_gpus()]
        except pynvml.NVMLError as error:
            raise OSError(str(error)) from None
        if not self._devices:
            raise FileNotFoundError("no GPU")
        self._start = 0.0
        self._start = self.joules()

    def _device(self, name: str) -> Any:
        if name.isdecimal():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(name))
        return self._nvml.nvmlDeviceGetHandleByUUID(name.encode())

    def joules(self) -> float:
        """The energy since the counter was made."""
        read = self._nvml.nvmlDeviceGetTotalEnergyConsumption  # millijoules
        try:
            return float(sum(map(read, self._devices))) / 1e3 - self._start
        except self._nvml.NVMLError as error:
            raise OSError(str(error)) from None


def _visible_gpus() -> list[str]:
    """Numbers or UUIDs of the GPUs that Ray has given to this process."""
    return [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]


class EnergyMeter:
    """Measures a trial from one report to the next.

    Args:
        reserved: `cpu`, and `gpu` where it has one; may be fractions.
    """

    def __init__(self, reserved: Mapping[str, float]) -> None:
        cpus, gpus = reserved.get("cpu", 0.0), reserved.get("gpu", 0.0)
        self._counters: dict[str, tuple[Counter, float]] = {}
        self._last: dict[str, float] = {}
        with suppress(OSError, ValueError):
            self._add("cpu_kwh", RaplCounter(), cpus / (os.cpu_count() or 1))
        if gpus:
            with suppress(OSError):
                # Of whole GPUs all that is visible is its own; of a part of one, that part is.
                self._add("gpu_kwh", NvmlCounter(), min(1.0, gpus))

    def _add(self, name: str, counter: Counter, share: float) -> None:
        self._counters[name], self._last[name] = (counter, share), counter.joules()

    def read(self) -> dict[str, float]:
        """The energy since the last call, in kWh; only what can be measured here."""
        found = {}
        for name, (counter, share) in list(self._counters.items()):
            try:
                now = counter.joules()
            except (OSError, ValueError) as error:
                logger.warning("%s: not measured any more: %s", name, error)
                del self._counters[name]
                continue
            found[name] = (now - self._last[name]) * share / JOULES_OF_KWH
            self._last[name] = now
        return found
