"""Drain this Ray node when AWS announces the end of a spot machine.

    python drain_on_spot_notice.py HEAD:PORT

AWS gives notice two minutes before. Trials then save their states and continue on other nodes. This
script needs only Ray.
"""

import subprocess
import sys
import time
import urllib.error
import urllib.request

METADATA = "http://169.254.169.254/latest"
EVERY = 5.0  # seconds between two looks
NOTICE = 110  # seconds from the notice to the end, with a margin


def ask(path, method="GET", **headers):
    """The answer of the machine's metadata service; None: there is none (yet)."""
    request = urllib.request.Request(f"{METADATA}/{path}", method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def is_taken_away():
    """Whether AWS has said so; the service gives a token first."""
    token = ask("api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    header = {"X-aws-ec2-metadata-token": token or ""}
    return ask("meta-data/spot/instance-action", **header) is not None


def drain(address):
    """Drain this node: Ray starts nothing more on it, and its trials save their states."""
    import ray

    ray.init(address=address, log_to_driver=False)
    words = [
        *("ray", "drain-node", "--address", address),
        *("--node-id", ray.get_runtime_context().get_node_id()),
        *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot notice"),
        *("--deadline-remaining-seconds", str(NOTICE)),
    ]
    subprocess.run(words, check=True)


def main():
    """Watch until the notice comes."""
    while not is_taken_away():
        time.sleep(EVERY)
    drain(sys.argv[1])


if __name__ == "__main__":
    main()
