"""The cluster files are what Ray's launcher and KubeRay take, as far as it shows offline."""

import http.server
import re
import runpy
import shlex
import subprocess
import threading
from pathlib import Path

import pytest
import yaml

from raytune_ocr.generate import build_parser as build_generate_parser
from raytune_ocr.tune.cli.parser import build_parser
from raytune_ocr.tune.cluster.cluster import LOG_BYTES
from raytune_ocr.version import __version__

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
        ["bash", "-c", install.replace("python3 -m venv ~/venv", "true").replace(PIP, "echo")],
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


@pytest.mark.parametrize(
    "name", ["cluster.yaml", "deploy/on-premises.yaml", "deploy/slurm.sh", "deploy/kuberay.yaml"]
)
def test_what_trials_print_is_limited_on_every_node(name):
    text = re.sub(r"[^\w\n]+", " ", (ROOT / name).read_text())
    assert re.search(rf"RAY_ROTATION_MAX_BYTES (value )?{LOG_BYTES}\b", text)
    assert re.search(r"RAY_ROTATION_BACKUP_COUNT (value )?1\b", text)


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.name)
def test_the_head_starts_its_workers_by_the_file_that_the_launcher_puts_there(path):
    head = yaml.safe_load(path.read_text())["head_start_ray_commands"][-1]
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in head


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.name)
def test_the_data_is_made_once_where_every_node_sees_it(path):
    (command,) = yaml.safe_load(path.read_text())["head_setup_commands"]
    assert made_data(command) == "/shared/data"


def made_data(command):
    """The folder that a command fills where it has no metadata yet."""
    check, _, make = command.partition("||")
    folder = build_generate_parser().parse_args(shlex.split(make)[3:]).output_dir
    assert shlex.split(check) == ["test", "-e", f"{folder}/metadata.yaml"]
    assert shlex.split(make)[1:3] == ["-m", "raytune_ocr.generate"]
    return str(folder)


def test_all_machines_on_premises_are_started():
    from ray.autoscaler._private.util import prepare_config

    config = prepare_config(yaml.safe_load(LAUNCHER[1].read_text()))
    worker = config["available_node_types"]["local.cluster.node"]
    machines = len(config["provider"]["worker_ips"])
    assert (worker["min_workers"], worker["max_workers"]) == (machines, machines)


def test_workers_on_aws_are_spot_machines_that_start_from_none():
    types = yaml.safe_load(LAUNCHER[0].read_text())["available_node_types"]
    worker = types["gpu_worker"]
    assert worker["min_workers"] == 0
    assert worker["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert types["head"]["resources"] == {"CPU": 0}


def test_machines_on_aws_have_an_image_of_their_own_with_room_for_pytorch():
    """Ray's own default is of Ubuntu 18.04, which has neither Python 3.10 nor a current driver."""
    config = yaml.safe_load(LAUNCHER[0].read_text())
    for kind in config["available_node_types"].values():
        machine = kind["node_config"]
        assert machine["ImageId"].startswith("resolve:ssm:/aws/service/")
        assert "24.04" in machine["ImageId"]
        assert machine["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] >= 40
    assert "IamInstanceProfile" in config["available_node_types"]["head"]["node_config"]
    assert any("python3-venv" in command for command in config["initialization_commands"])


class Metadata(http.server.BaseHTTPRequestHandler):
    """As much of EC2's metadata service as a spot notice takes; `looks` before it comes."""

    looks = 2

    def do_PUT(self):
        self.answer(200, "token")

    def do_GET(self):
        type(self).looks -= 1
        known = self.headers["X-aws-ec2-metadata-token"] == "token"
        self.answer(200 if known and self.looks < 0 else 404, '{"action": "terminate"}')

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments):
        pass


def test_a_spot_notice_drains_the_node():
    watch = runpy.run_path(str(ROOT / "deploy" / "drain_on_spot_notice.py"))
    names, drained = watch["main"].__globals__, []
    with http.server.HTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        names |= {"METADATA": f"http://127.0.0.1:{server.server_port}/latest", "EVERY": 0.01}
        names |= {"drain": drained.append, "sys": type("sys", (), {"argv": ["", "head:6379"]})}
        watch["main"]()
        server.shutdown()
    assert drained == ["head:6379"] and Metadata.looks < 0
    names["METADATA"] = "http://127.0.0.1:1"
    assert not watch["is_taken_away"]()


def test_workers_on_aws_watch_for_the_spot_notice():
    *_, watch = yaml.safe_load(LAUNCHER[0].read_text())["worker_start_ray_commands"]
    assert "drain_on_spot_notice.py $RAY_HEAD_IP:6379" in watch and watch.endswith("< /dev/null &")


@pytest.fixture
def kuberay():
    """The volume's claim and the job."""
    return list(yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text()))


def groups_of(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def test_the_kuberay_job_has_the_fields_of_its_reference_and_a_volume_everywhere(kuberay):
    claim, job = kuberay
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    known = {
        *("entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes"),
        *("ttlSecondsAfterFinished", "rayClusterSpec", "runtimeEnvYAML", "activeDeadlineSeconds"),
    }
    assert set(job["spec"]) <= known
    assert job["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"
    for group in groups_of(job):
        pod = group["template"]["spec"]
        name = claim["metadata"]["name"]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["volumeMounts"][0]["mountPath"] == "/shared"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_kuberay_starts_workers_from_none_and_may_take_them_away(kuberay):
    cluster = kuberay[1]["spec"]["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    (worker,) = cluster["workerGroupSpecs"]
    assert worker["minReplicas"] == worker["replicas"] == 0 < worker["maxReplicas"]
    pods = [group["template"]["spec"] for group in groups_of(kuberay[1])]
    assert {pod["restartPolicy"] for pod in pods} == {"Never"}  # or v2 cannot tell pods apart
    worker_pod = pods[1]
    environment = {each["name"]: each["value"] for each in worker_pod["containers"][0]["env"]}
    drain = float(environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    assert 0 < drain < worker_pod["terminationGracePeriodSeconds"]


def test_kubernetes_gives_trials_whole_limits_and_the_head_none(kuberay):
    head, worker = (group["template"]["spec"]["containers"][0] for group in groups_of(kuberay[1]))
    assert groups_of(kuberay[1])[0]["rayStartParams"]["num-cpus"] == "0"
    for container in (head, worker):
        asked, most = container["resources"]["requests"], container["resources"]["limits"]
        assert asked["memory"] == most["memory"]  # Ray reads the limit, and trials fill it
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_an_init_step_fills_the_volume_that_the_job_reads(kuberay):
    (data,) = groups_of(kuberay[1])[0]["template"]["spec"]["initContainers"]
    assert data["command"] == ["bash", "-c"]
    assert f"--data {made_data(data['args'][0])} " in kuberay[1]["spec"]["entrypoint"]


def test_kuberay_runs_the_images_that_the_dockerfile_builds(kuberay):
    built = set(re.findall(r"docker build -t (\S+)", DOCKERFILE))
    pods = [group["template"]["spec"] for group in groups_of(kuberay[1])]
    containers = [c for p in pods for c in [*p["containers"], *p.get("initContainers", [])]]
    assert {container["image"] for container in containers} == built
    assert all(f":{__version__}-" in image for image in built)
    uid = re.search(r"--uid (\d+)", DOCKERFILE)[1]
    assert {str(pod["securityContext"]["fsGroup"]) for pod in pods} == {uid}


def test_an_open_dashboard_says_why():
    opened = 0
    for path in (*LAUNCHER, ROOT / "deploy" / "kuberay.yaml"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if "0.0.0.0" in line:
                opened += 1
                assert lines[number - 1].lstrip().startswith("#"), path
    assert opened == 1  # KubeRay's


DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_image_has_the_versions_of_this_package():
    project = (ROOT / "pyproject.toml").read_text()
    torch = re.search(r'"(torch[^"]*)"', project)[1]
    assert re.findall(r'"(torch[^"]*)"', DOCKERFILE) == [torch, torch]
    python = re.search(r"FROM \S+:(\d+\.\d+)-", DOCKERFILE)[1]
    assert f"Programming Language :: Python :: {python}" in project
    ray = re.search(r'rayVersion: "(.*)"', (ROOT / "deploy" / "kuberay.yaml").read_text())[1]
    least, below = re.search(r"ray\[tune\]>=([\d.]+),<([\d.]+)", project).groups()
    assert numbers(least) <= numbers(ray) < numbers(below)


def numbers(text):
    return [int(part) for part in text.split(".")]


def test_the_image_copies_files_that_there_are_and_that_are_sent_to_the_builder():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [
        word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M) for word in line.split()
    ]
    assert set(copied) == sent and all((ROOT / name).exists() for name in copied)
    read = set(re.findall(r'^(?:readme|license-files) = \[?"([^"]+)"', PROJECT, re.M))
    assert read <= sent and "search_spaces" in sent


PROJECT = (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("device", ["cpu", "cuda", "tpu"])
def test_the_build_argument_chooses_the_wheels(device, tmp_path):
    """The step as a shell runs it, with a stand-in for pip."""
    step = re.search(r"^RUN (case .*?esac)$", DOCKERFILE, re.M | re.S)[1]
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", step],
        env={"DEVICE": device, "PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    found = {"cpu": "whl/cpu", "cuda": "install torch", "tpu": "must be cpu or cuda, got tpu"}
    assert found[device] in done.stdout + done.stderr
    assert bool(done.returncode) == (device == "tpu")


def test_the_kuberay_entry_point_is_a_command_line_of_ours():
    _, job = yaml.safe_load_all((ROOT / "deploy" / "kuberay.yaml").read_text())
    module, words = re.match(r"python -m (\S+) (.*)", job["spec"]["entrypoint"]).groups()
    assert module == "raytune_ocr.tune"
    assert build_parser().parse_args(words.split()).resume_if_any


def test_what_would_bloat_an_upload_is_ignored():
    ignored = (ROOT / ".rayignore").read_text().split()
    assert {".git", ".venv", "training_output", "generated_data", "runs"} <= set(ignored)


SLURM_STUBS = {
    "scontrol": 'if [ "$1" = show ]; then printf "n1\\nn2\\nn3\\n"; fi',
    "srun": "",
    "ray": "",
    "python": 'case "$*" in *secrets*) echo token;; *tune*) exit $STATUS;; esac',
}


@pytest.mark.parametrize("status", [0, 1, 143])
def test_slurm_starts_a_head_and_workers_and_queues_a_run_that_was_cut_again(tmp_path, status):
    log = tmp_path / "log"
    for name, body in SLURM_STUBS.items():
        stub = tmp_path / name
        stub.write_text(f'#!/bin/bash\necho "{name} $RAY_AUTH_TOKEN $*" >> {log}\n{body}\n')
        stub.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "STATUS": str(status)}
    environment |= {
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_JOB_ID": "41",
        "SLURM_JOB_NUM_NODES": "3",
    }
    words = ["bash", str(ROOT / "deploy" / "slurm.sh"), "--config", "my file.yaml"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, "")
    lines = log.read_text().splitlines()
    head, workers = sorted(line for line in lines if line.startswith("srun token"))
    assert "--nodelist n1" in head and "--head --node-ip-address n1 --port 20041" in head
    assert "--nodes 2 --exclude n1" in workers and "--address n1:20041" in workers
    (tune,) = [line for line in lines if "raytune_ocr.tune" in line]
    assert tune.endswith("--address n1:20041 --resume-if-any --config my file.yaml")
    assert ("scontrol token requeue 41" in lines) == (status == 143)
