import pytest

from raytune_ocr.dashboard.guard import TOKEN_HEADER, Guard

GUARD = Guard(["tuner.example"], token="secret")
PAGE = {TOKEN_HEADER: "secret", "Host": "127.0.0.1:8267", "Origin": "http://127.0.0.1:8267"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8267", "localhost:8267", "[::1]:8267", "10.0.0.7", "TUNER.example:1"]
)
def test_addresses_and_names_of_this_machine_are_known(host):
    assert GUARD.knows_host(host)


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1.evil.example", "[::1", "a b"])
def test_other_names_are_not_known_even_if_they_resolve_to_this_machine(host):
    assert not GUARD.knows_host(host)


def test_data_need_the_token():
    assert GUARD.refusal("GET", {TOKEN_HEADER: "secret"}) == ""
    for headers in ({}, {TOKEN_HEADER: ""}, {TOKEN_HEADER: "secreT"}, {TOKEN_HEADER: "sécret"}):
        assert "token" in GUARD.refusal("GET", headers)


def test_an_order_needs_the_token_and_the_origin_of_the_page():
    assert GUARD.refusal("POST", PAGE) == ""
    assert "token" in GUARD.refusal("POST", {**PAGE, TOKEN_HEADER: "other"})
    for change in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:8267"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert "another origin" in GUARD.refusal("POST", {**PAGE, **change})
    without = {name: PAGE[name] for name in (TOKEN_HEADER, "Host")}
    assert "another origin" in GUARD.refusal("POST", without)


def test_every_server_has_a_token_of_its_own():
    assert Guard().token != Guard().token and len(Guard().token) >= 40
