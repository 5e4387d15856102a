"""Requests to a real server: what is answered, and what is refused."""

import asyncio
import json

import pytest
from aiohttp.test_utils import TestClient, TestServer

from raytune_ocr.dashboard import server
from raytune_ocr.dashboard.guard import TOKEN_HEADER, Guard
from raytune_ocr.dashboard.server import Dashboard
from raytune_ocr.dashboard.snapshot import snapshots
from raytune_ocr.results.steering.orders import Answer
from tests.fixtures.records import searched_run

TOKEN = {TOKEN_HEADER: "secret"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return snapshots([searched_run(tmp_path_factory.mktemp("served") / "run")])


def asked(runs, *requests, read_only=False):
    """The status, headers and body of the answer to each (method, path, headers, body)."""

    async def ask():
        app = Dashboard(runs, Guard(token="secret"), read_only).application()
        async with TestClient(TestServer(app, host="127.0.0.1")) as client:
            answers = []
            for method, path, headers, body in requests:
                origin = f"http://127.0.0.1:{client.port}"
                filled = {name: value.replace("ORIGIN", origin) for name, value in headers.items()}
                answer = await client.request(method, path, headers=filled, json=body)
                answers.append((answer.status, dict(answer.headers), await answer.text()))
            return answers

    return asyncio.run(ask())


def status(runs, method, path, headers=None, body=None, **options):
    return asked(runs, (method, path, TOKEN if headers is None else headers, body), **options)[0][0]


def test_the_page_needs_the_token_in_its_url(runs):
    assert status(runs, "GET", "/", {}) == 403
    assert status(runs, "GET", "/?token=other", {}) == 403
    ((code, headers, text),) = asked(runs, ("GET", "/?token=secret", {}, None))
    assert code == 200 and '<div id="page">' in text and "secret" not in text
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"


def test_data_need_the_token_in_a_header(runs):
    for path in ("/api/state", "/api/curves?metric=val_loss", "/api/importance", "/api/log"):
        assert status(runs, "GET", path, {}) == 403
        assert status(runs, "GET", f"{path}{'&' if '?' in path else '?'}token=secret", {}) == 403
        assert status(runs, "GET", path, {TOKEN_HEADER: "wrong"}) == 403


def test_a_foreign_domain_that_resolves_to_this_machine_gets_nothing(runs):
    for path in ("/?token=secret", "/assets/app.js", "/api/state"):
        assert status(runs, "GET", path, {**TOKEN, "Host": "evil.example"}) == 403


def test_assets_are_the_files_of_the_package_and_no_others(runs):
    ((code, headers, text),) = asked(runs, ("GET", "/assets/app.js", {}, None))
    assert code == 200 and headers["Content-Type"].startswith("text/javascript") and text
    for name in ("../server.py", "..%2fserver.py", "%2e%2e/guard.py", "/etc/passwd", "app.py", ""):
        assert status(runs, "GET", f"/assets/{name}", {}) == 404


def test_the_state_has_the_runs_and_then_only_what_changed(runs):
    ((_, _, text),) = asked(runs, ("GET", "/api/state", TOKEN, None))
    state = json.loads(text)
    (run,) = state["runs"]
    assert len(run["trials"]) == 9 and run["name"] == "run" and not state["read_only"]
    path = f"/api/state?since={run['version']}"
    ((_, _, text),) = asked(runs, ("GET", path, TOKEN, None))
    assert json.loads(text)["runs"][0]["trials"] == []


def test_curves_and_importance_are_those_of_the_run_that_is_named(runs):
    answers = asked(
        runs,
        ("GET", "/api/curves?metric=val_loss&run=0", TOKEN, None),
        ("GET", "/api/importance", TOKEN, None),
    )
    curves, importance = (json.loads(text) for _, _, text in answers)
    assert curves["trial_3"]["value"] == [1.0, 0.5, 0.3333333]
    assert importance["ours"][0]["setting"] == "learning_rate"
    for number in ("1", "-1", "x"):
        assert status(runs, "GET", f"/api/curves?metric=val_loss&run={number}") == 404


def test_a_log_is_of_a_trial_and_no_other_file(runs):
    assert status(runs, "GET", "/api/log?trial=trial_8") == 200
    for name in ("..%2f..%2fetc%2fpasswd", "..", "%2fetc%2fpasswd", "run_state.jsonl"):
        assert status(runs, "GET", f"/api/log?trial={name}") == 404


@pytest.fixture
def sent(monkeypatch):
    """The orders that reach the run."""
    orders = []
    monkeypatch.setattr(
        server, "_sent", lambda run, order: orders.append(order) or (False, "it has ended")
    )
    return orders


PAGE = {**TOKEN, "Origin": "ORIGIN"}
STOP = {"action": "stop", "trial": "trial_1"}


def test_an_order_of_the_page_is_sent_and_its_answer_passed_on(runs, sent):
    ((code, _, text),) = asked(runs, ("POST", "/api/order", PAGE, STOP))
    assert code == 200 and json.loads(text) == {"accepted": False, "reason": "it has ended"}
    assert sent == [STOP]


def test_no_order_without_the_token_or_from_another_origin(runs, sent):
    for headers in (
        {"Origin": "ORIGIN"},
        {**PAGE, TOKEN_HEADER: "wrong"},
        TOKEN,
        {**PAGE, "Origin": "http://evil.example"},
        {**PAGE, "Sec-Fetch-Site": "cross-site"},
        {**PAGE, "Host": "evil.example", "Origin": "http://evil.example"},
        {**PAGE, "Content-Type": "text/plain"},  # what a form of another origin can send
    ):
        assert status(runs, "POST", "/api/order", headers, STOP) == 403, headers
    assert sent == []


def test_a_read_only_page_sends_no_order(runs, sent):
    assert status(runs, "POST", "/api/order", PAGE, STOP, read_only=True) == 403
    assert sent == []


def test_an_order_that_is_no_mapping_or_too_long_is_refused(runs, sent):
    assert status(runs, "POST", "/api/order", PAGE, ["stop"]) == 400
    assert status(runs, "POST", "/api/order", PAGE, {"action": "x" * 100_000}) == 413
    assert sent == []


def reason_of(runs, order):
    ((code, _, text),) = asked(runs, ("POST", "/api/order", PAGE, order))
    answer = json.loads(text)
    assert code == 200 and not answer["accepted"]
    return answer["reason"]


def test_a_wrong_order_of_the_page_is_refused_with_the_reason(runs):
    assert "unknown action 'stopp'" in reason_of(runs, {"action": "stopp"})
    extend = {"action": "extend", "trial": "trial_1", "arguments": {"epochs": 0}}
    assert "epochs: must be" in reason_of(runs, extend)
    who = {"action": "stop", "arguments": {"who": "root"}}
    assert reason_of(runs, who) == "order: arguments: must be a mapping"
    part = {"set": {"learning_rate.x": 1}}
    assert "learning_rate has no such part" in reason_of(
        runs, {"action": "clone", "trial": "trial_1", "arguments": part}
    )


def test_a_part_of_a_mapping_is_ordered_with_the_rest_of_the_mapping(runs, monkeypatch):
    orders = []
    answer = Answer(False, "it has ended")
    monkeypatch.setattr(
        server, "send_order", lambda at, order, wait: orders.append(order) or answer
    )
    monkeypatch.setitem(
        runs[0].replay.trials["trial_1"].config, "dataset_options", {"x": 1, "y": 2}
    )
    changes = {"dataset_options.x": 5, "parameters.lr": 0.1, "seed": 3}
    reason_of(runs, {"action": "clone", "trial": "trial_1", "arguments": {"set": changes}})
    assert orders[0].arguments["set"] == {
        "dataset_options": {"x": 5, "y": 2},
        "parameters.lr": 0.1,
        "seed": 3,
    }
    assert runs[0].replay.trials["trial_1"].config["dataset_options"] == {"x": 1, "y": 2}


def test_json_that_is_too_deep_and_files_that_cannot_be_read_are_answered_in_json(
    runs, monkeypatch
):
    async def deep(request):
        raise RecursionError

    monkeypatch.setattr(server.web.Request, "json", deep)
    assert status(runs, "POST", "/api/order", PAGE, STOP) == 400

    def unreadable(*arguments):
        raise PermissionError(13, "Permission denied", "run")

    monkeypatch.setattr(runs[0], "refresh", unreadable)
    ((code, _, text),) = asked(runs, ("GET", "/api/state", TOKEN, None))
    assert code == 503 and "Permission denied" in json.loads(text)["error"]


def test_a_number_that_is_none_is_null_in_an_answer():
    assert server._json({"low": float("nan")}) == b'{"low": null}'
