"""The cluster files are what Ray's launcher and KubeRay take, as far as it shows offline."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from raytune_ocr.tune.cli.parser import build_parser

PIP = "~/venv/bin/pip install -q"
ROOT = Path(__file__).parents[1]
LAUNCHER = [ROOT / "cluster.yaml", ROOT / "deploy" / "on-premises.yaml"]
PROVIDER_KEYS = {
    "aws": {"type", "region", "availability_zone", "cache_stopped_nodes", "security_group"},
    "local": {"type", "head_ip", "worker_ips", "coordinator_address"},
}


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.name)
def test_the_launcher_takes_the_file(path):
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(path.read_text())
    validate_config(prepare_config(config))
    assert set(config["provider"]) <= PROVIDER_KEYS[config["provider"]["type"]]


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.name)
def test_a_shell_expands_what_is_installed_to_this_package(path):
    commands = yaml.safe_load(path.read_text())["setup_commands"]
    install = next(command for command in commands if "pip install" in command)
    words = subprocess.run(
        ["bash", "-c", install.replace("python3.11 -m venv ~/venv", "true").replace(PIP, "echo")],
        env={"HOME": "/home/somebody"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout == "/home/somebody/raytune_ocr[cluster]\n"


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.name)
def test_every_node_gets_the_token(path):
    assert "~/.ray/auth_token" in yaml.safe_load(path.read_text())["file_mounts"]


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.name)
def test_the_dashboard_stays_on_loopback_and_tokens_are_on(path):
    text = path.read_text()
    assert "--dashboard-host=127.0.0.1" in text
    assert "RAY_AUTH_MODE=token" in text
    assert "ray get-auth-token --generate" in text


def test_workers_on_aws_are_spot_machines_that_start_from_none():
    types = yaml.safe_load(LAUNCHER[0].read_text())["available_node_types"]
    worker = types["gpu_worker"]
    assert worker["min_workers"] == 0
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert types["head"]["resources"] == {"CPU": 0}


def test_the_kuberay_job_has_the_fields_of_its_reference_and_a_volume_everywhere():
    claim, job = yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    known = {
        *("entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes"),
        *("ttlSecondsAfterFinished", "rayClusterSpec", "runtimeEnvYAML", "activeDeadlineSeconds"),
    }
    assert set(job["spec"]) <= known
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"]["mode"] == "token"
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        name = claim["metadata"]["name"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == name
        assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/shared"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_kuberay_entry_point_is_a_command_line_of_ours():
    _, job = yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
    module, words = re.match(r"python -m (\S+) (.*)", job["spec"]["entrypoint"]).groups()
    assert module == "raytune_ocr.tune"
    assert build_parser().parse_args(words.split()).resume_if_any


def test_what_would_bloat_an_upload_is_ignored():
    ignored = (ROOT / ".rayignore").read_text().split()
    assert {".git", ".venv", "training_output", "generated_data", "runs"} <= set(ignored)
