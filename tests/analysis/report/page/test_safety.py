"""A page is safe to open: it loads nothing, runs only its own scripts, and text from a run stays text."""

import base64
import hashlib
import json
import re
from pathlib import Path

from report_page import Page, page_of
from synthetic import START_NS, make_run
from thermograd.analysis.report.page import document as page_module
from thermograd.analysis.report.run_report import write_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run

_HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'\u2028<!--"


def test_page_loads_nothing(page: Page) -> None:
    loading = ("src", "href", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href")
    addresses = [
        attributes[name] or "" for _, attributes in page.elements for name in loading if name in attributes
    ]
    assert addresses
    assert all(address.startswith(("data:image/svg+xml;base64,", "#")) for address in addresses)
    assert not page.of("link")
    assert not page.of("iframe")
    style = Path(page_module.__file__).parent / "templates/style.css"
    assert not re.search(r"@import|url\(", style.read_text())


def test_policy_forbids_the_network_and_every_script_but_the_pages_own(page: Page) -> None:
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert "default-src 'none'" in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    assert {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.code
    } == allowed
    assert "script-src 'unsafe-inline'" not in policy


def _with_facts_of_devices(run: Run) -> Run:
    facts = run.facts
    for device in facts["devices"].values():
        device |= {
            "model": _HOSTILE,
            "missing": {"fan_pct": _HOSTILE, _HOSTILE: "x"},
            "suspect": {"power_w": _HOSTILE},
        }
    (run.path / "run.json").write_text(json.dumps(facts))
    return Run(run.path)


def test_hostile_names_and_notes_stay_text(tmp_path: Path) -> None:
    facts = {
        "model": {"class": _HOSTILE, "parameters": 1},
        "versions": {"torch": _HOSTILE},
        "devices_absent": {"nvidia": _HOSTILE},
        "python": _HOSTILE,
        "git": {"commit": _HOSTILE},
        "source": "imported",
        "thermograd_version": _HOSTILE,
        "import": {
            "files": [{"name": _HOSTILE, "format": _HOSTILE}],
            "left_out": {_HOSTILE: 1},
            "timezone": _HOSTILE,
        },
    }
    run = make_run(tmp_path, steps=200, name=_HOSTILE, device=f"GPU {_HOSTILE}", collapse_s=5.0, facts=facts)
    writer = EventWriter(run.path, run.run_id, "other")
    writer.append("mark", START_NS, mark="injection", step=2, text=_HOSTILE)
    writer.append("mark", START_NS, mark="gap", text=_HOSTILE, detail=_HOSTILE)
    writer.append("mark", START_NS, mark="note", text=_HOSTILE, detail=_HOSTILE)
    writer.append("alert", START_NS, alert=_HOSTILE, severity=_HOSTILE, device=_HOSTILE, message=_HOSTILE)
    reading = {"power_w": 100.0, "utilization_pct": 50.0, "temperature_c": 50.0}
    writer.append("sample", START_NS, device=f"{_HOSTILE} second", **reading)
    writer.close()
    run = _with_facts_of_devices(run)
    hostile, harmless = page_of(run), page_of(make_run(tmp_path / "other", steps=200))
    assert hostile.code == harmless.code
    assert len(hostile.scripts) == len(harmless.scripts)
    assert len(hostile.of("img")) == len(harmless.of("img"))
    assert not [name for _, attributes in hostile.elements for name in attributes if name.startswith("on")]
    assert hostile.text.count(_HOSTILE) > 8
    assert _HOSTILE in json.dumps(hostile.data("data-timeline"), ensure_ascii=False).replace('\\"', '"')
    for attributes, text in hostile.scripts:
        if attributes.get("type") == "application/json":
            assert not set("<>&\u2028\u2029") & set(text)


def test_text_that_is_no_unicode_does_not_stop_the_report(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, name="lone \ud800 surrogate and \x00 nul")
    paths = write_report(run, analyze_run(run), tmp_path / "out")
    assert "surrogate" in paths["report"].read_text(encoding="utf-8")
