import urllib.error
import urllib.request

import pytest

from raytune_ocr.dashboard.serving import Serving
from raytune_ocr.errors import ConfigurationError


def test_the_page_is_served_on_loopback_until_the_end():
    with Serving([], "127.0.0.1") as serving:
        assert serving.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(serving.url) as page:
            assert b'<div id="page">' in page.read()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(serving.url)


def test_a_port_in_use_is_replaced_by_a_free_one():
    with Serving([], "127.0.0.1") as first:
        port = int(first.url.split(":")[2].split("/")[0])
        with Serving([], "127.0.0.1", port) as second:
            assert first.url.split("/?")[0] != second.url.split("/?")[0]


def test_an_address_of_another_machine_is_an_error():
    with pytest.raises(ConfigurationError, match="--host: must be an address of this machine"):
        Serving([], "192.0.2.1")
