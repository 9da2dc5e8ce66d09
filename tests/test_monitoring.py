"""What Prometheus and Grafana are given fits what the bridge tells, and an operator finds all of it in the document."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.core import Metric

from service import settings
from service.metrics import Requests
from service.platforms.pace import State
from service.store.database import Database
from service.web.metrics import mirror, process
from tests.cli.filled import NOW

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "config" / "monitoring"
ALERTS = (HERE / "alerts.yml").read_text()
DASHBOARD: dict[str, Any] = json.loads((HERE / "grafana" / "dashboards" / "contact-bridge.json").read_text())
DOCUMENT = (ROOT / "docs" / "monitoring.md").read_text()
PREFIX = "contact_bridge_"
PROMTOOL = shutil.which("promtool")
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}


@pytest.fixture
def families(sqlite_mirror: str) -> list[Metric]:
    """All that a scrape tells."""
    database = Database(sqlite_mirror)
    with database.begin(write=False) as conn:
        found = list(mirror.everything(conn, settings.load({}, environ={}), NOW))
    database.close()
    state = State(concurrency=1, in_flight=0, waiting=0, paused_for=0.0, breaker="closed", silent_since=None)
    here = [*process.requests({"onvoard": Requests()}), *process.states({"onvoard": state}), process.webhooks({})]
    return [*found, *here, process.build()]


def _names(family: Metric) -> set[str]:
    """As queries name them."""
    if family.type == "info":
        return {f"{family.name}_info"}
    return {family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))}


def _expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


def test_alerts_and_dashboard_ask_for_nothing_that_is_not_told(families: list[Metric]) -> None:
    told = set().union(*(_names(family) for family in families))
    asked = set(re.findall(rf"\b{PREFIX}\w+", ALERTS + "\n".join(_expressions())))
    assert len(asked) > 25
    assert asked - told == set()


def test_each_metric_is_in_the_document_and_no_other(families: list[Metric]) -> None:
    tables = "\n".join(line for line in DOCUMENT.split("## Alerts")[0].splitlines() if line.startswith("| `"))
    documented = {name for row in tables.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    wanted = set()
    for family in families:
        name = next(iter(_names(family))) if family.type in ("counter", "info", "gauge") else family.name
        wanted.add(name.removeprefix(PREFIX))
    assert documented == wanted


def test_each_alert_has_its_part_of_the_document() -> None:
    alerts = re.findall(r"- alert: (\w+)", ALERTS)
    assert len(alerts) == len(set(alerts)) > 15
    assert re.findall(r"^### (\w+)$", DOCUMENT, re.MULTILINE) == alerts
    assert re.findall(r"runbook: (\S+)", ALERTS) == [f"docs/monitoring.md#{name.lower()}" for name in alerts]
    assert len(re.findall(r"summary: \S+", ALERTS)) == len(alerts)
    assert set(re.findall(r"severity: (\w+)", ALERTS)) <= {"critical", "warning", "info"}


def test_compose_gives_them_what_is_there() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    mounted = re.findall(r"- \./(config/monitoring/\S+?):", compose)
    assert len(mounted) == 4
    assert [path for path in mounted if not (ROOT / path).exists()] == []
    assert "credentials_file: /run/secrets/metrics_token" in (HERE / "prometheus.yml").read_text()
    assert compose.count("profiles: [monitoring]") == 2


def test_each_panel_has_a_name_and_a_place_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    for kind in ("id", "title"):
        assert len({panel[kind] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in panels):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: apt-get install prometheus)")
@pytest.mark.parametrize("command", [["check", "rules", HERE / "alerts.yml"], ["test", "rules", "alerts.test.yml"]])
def test_prometheus_itself_takes_the_rules_and_they_fire_when_they_should(command: list[str | Path]) -> None:
    asked = [str(PROMTOOL), *map(str, command)]
    done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: apt-get install prometheus)")
def test_prometheus_takes_what_is_told(families: list[Metric]) -> None:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Told(Collector):
        def collect(self) -> Iterator[Metric]:
            yield from families

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Told())
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=generate_latest(registry), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
