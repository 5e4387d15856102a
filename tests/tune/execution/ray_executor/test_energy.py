import os
import sys
from types import SimpleNamespace

import pytest

from raytune_ocr.tune.execution.ray_executor import energy
from raytune_ocr.tune.execution.ray_executor.energy import EnergyMeter, NvmlCounter, RaplCounter


def package(folder, number, microjoules, most=1_000_000_000):
    place = folder / f"intel-rapl:{number}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "energy_uj").write_text(f"{microjoules}\n")
    (place / "max_energy_range_uj").write_text(f"{most}\n")


def test_rapl_adds_up_packages_and_a_counter_that_began_anew(tmp_path):
    package(tmp_path, 0, 900_000_000)
    package(tmp_path, 1, 0)
    counter = RaplCounter(tmp_path)
    package(tmp_path, 0, 100_000_000)  # beyond its range
    package(tmp_path, 1, 50_000_000)
    assert counter.joules() == pytest.approx(250.0)


def test_a_machine_without_rapl_is_an_error(tmp_path):
    with pytest.raises(OSError, match="has no intel-rapl counters"):
        RaplCounter(tmp_path)


class FakeNvml:
    NVMLError = type("NVMLError", (Exception,), {})
    read = 7_000.0

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByIndex(self, index):
        return f"gpu{index}"

    def nvmlDeviceGetHandleByUUID(self, name):
        if name.startswith(b"MIG"):
            raise self.NVMLError("not supported")
        return name

    def nvmlDeviceGetTotalEnergyConsumption(self, device):
        return self.read


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    return fake


def test_nvml_counts_the_visible_gpus_from_the_beginning(nvml, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-12")
    counter = NvmlCounter()
    nvml.read += 3_600.0
    assert counter.joules() == pytest.approx(7.2)


@pytest.mark.parametrize("visible", ["", "MIG-3"])
def test_no_gpu_or_a_part_of_one_is_an_error(nvml, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(OSError):
        NvmlCounter()


def test_a_trial_is_charged_its_share_since_the_last_report(nvml, tmp_path, monkeypatch):
    package(tmp_path, 0, 0)
    monkeypatch.setattr(energy, "RaplCounter", lambda: RaplCounter(tmp_path))
    monkeypatch.setattr(energy, "os", SimpleNamespace(cpu_count=lambda: 4, environ=os.environ))
    meter = EnergyMeter({"cpu": 2.0, "gpu": 0.25})
    package(tmp_path, 0, 360_000_000)
    nvml.read += 3.6e9
    assert meter.read() == pytest.approx({"cpu_kwh": 5e-5, "gpu_kwh": 0.25})
    assert meter.read() == {"cpu_kwh": 0.0, "gpu_kwh": 0.0}


def test_what_cannot_be_measured_is_left_out(nvml, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(energy, "RaplCounter", lambda: RaplCounter(tmp_path))
    meter = EnergyMeter({"cpu": 1.0, "gpu": 1.0})

    def lost(device):
        raise nvml.NVMLError("gone")

    nvml.nvmlDeviceGetTotalEnergyConsumption = lost
    assert meter.read() == {} == meter.read()
    assert caplog.text.count("not measured any more") == 1
