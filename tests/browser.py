"""A real headless Chromium, spoken to over two pipes in its DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
SWITCHES = (
    *("--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--mute-audio"),
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"),
)


class Browser:
    """One page of a Chromium; `problems` holds console errors, exceptions and failed requests."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="chromium")
        their_input, self.output = os.pipe()
        self.input, their_output = os.pipe()
        # Chromium reads from the descriptor 3 and writes to 4.
        shell = f'exec "$0" "$@" 3<&{their_input} 4>&{their_output}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, CHROMIUM, *SWITCHES, f"--user-data-dir={self.profile}"],
            pass_fds=(their_input, their_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_input)
        os.close(their_output)
        self.left = b""
        self.number = 0
        self.session = None
        self.events = []
        self.problems = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.session = None
        self.call("Browser.close")
        self.process.wait(timeout=20)
        os.close(self.output)
        os.close(self.input)
        shutil.rmtree(self.profile, ignore_errors=True)

    def call(self, method, **parameters):
        """The result of a command; what happens meanwhile is kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.output, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, path, width, dark=False):
        """Show a file from the disk in a window of that many pixels, and wait until it is there."""
        height = 800
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=Path(path).absolute().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._message()

    def evaluate(self, expression):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, path):
        """The whole page as a PNG."""
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(picture["data"]))

    def _message(self):
        while b"\0" not in self.left:
            self.left += os.read(self.input, 1 << 20)
        raw, self.left = self.left.split(b"\0", 1)
        message = json.loads(raw)
        if "method" in message:
            self.events.append(message)
            self._note_problem(message["method"], message["params"])
        return message

    def _note_problem(self, method, details):
        wrong = {
            "Runtime.exceptionThrown": lambda: True,
            "Runtime.consoleAPICalled": lambda: details["type"] in ("error", "warning", "assert"),
            "Log.entryAdded": lambda: details["entry"]["level"] in ("error", "warning"),
            "Network.loadingFailed": lambda: True,
        }
        if method in wrong and wrong[method]():
            self.problems.append(details)
        if method == "Network.requestWillBeSent":
            url = details["request"]["url"]
            if not url.startswith(("file:", "data:")):
                self.problems.append(f"request to {url}")
