import json
import re

from raytune_ocr.dashboard.assets import (
    FOLDER,
    LIVE_POLICY,
    assets,
    frozen_page,
    json_in_html,
    live_page,
    modules,
)

NASTY = "</script><script>alert(1)</script><!--"


def test_no_text_of_the_data_ends_the_script_that_holds_it():
    text = json_in_html({"error": NASTY, "line": "a\u2028b"})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"error": NASTY, "line": "a\u2028b"}
    assert json_in_html([float("nan")]) == "[null]"
    assert "alert(1)</script>" not in frozen_page({"runs": [NASTY]}, NASTY)


def test_a_frozen_page_asks_nothing_of_the_network():
    page = frozen_page({"runs": []}, "report", refresh=30)
    head = page[: page.index("<style>")]
    assert "default-src 'none'" in head and "connect-src" not in head
    assert '<meta http-equiv="refresh" content="30">' in head
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
    assert 'http-equiv="refresh"' not in frozen_page({"runs": []}, "report")


def test_a_live_page_runs_only_the_scripts_of_the_package():
    page = live_page("n0nce")
    scripts = re.findall(r"<script([^>]*)>", page)
    assert scripts
    assert all('nonce="n0nce"' in each or 'src="/assets/' in each for each in scripts)
    assert "unsafe" not in LIVE_POLICY


def test_every_module_that_a_module_imports_is_there():
    names = {f"page/{name}" for name in modules()}
    assert len(names) > 8
    for name in modules():
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert set(re.findall(r'from "([^"]+)"', text)) <= names, name


def test_no_module_makes_html_or_code_of_text():
    for name in modules():
        text = (FOLDER / name).read_text(encoding="utf-8")
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, f"{name}: {word}"
        assert 'trigger: "item"' not in text or "richText" in text


def test_the_plotting_library_has_its_licence_beside_it():
    assert "Apache License" in (FOLDER / "vendor" / "LICENSE-echarts.txt").read_text("utf-8")
    kind, content = assets()["vendor/echarts.min.js"]
    assert kind == "text/javascript" and b"Licensed to the Apache" in content[:200]
