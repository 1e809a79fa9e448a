"""Health, information, documentation, figures."""

import re
import time

import httpx
import pytest

from tests.handlers.conftest import Person


def test_health_is_what_the_app_looks_at(api: httpx.Client) -> None:
    body = api.get("/health").json()
    assert body["status"] == "healthy"
    assert abs(body["timestamp"] - time.time()) < 60
    assert {"service", "version", "environment"} <= set(body)


def test_ready_names_each_part_with_its_time(api: httpx.Client) -> None:
    body = api.get("/health/ready").json()
    assert body["status"] == "ready"
    assert body["checks"]["database"] == "healthy"
    assert body["details"]["database"]["latency_ms"] >= 0


def test_live_and_the_apis_own_health(api: httpx.Client) -> None:
    assert api.get("/health/live").json() == {"status": "alive"}
    assert api.get("/api/v1/health").json()["timestamp"].endswith("Z")


def test_info_names_features_and_limits(api: httpx.Client) -> None:
    body = api.get("/api/v1/info").json()
    assert body["features"]["websockets"] is True
    assert body["limits"]["free_environments"] == 1
    assert set(body["runtime"]["limits"]) >= {"cpu", "memory", "storage"}


def test_the_front_door_leads_on(api: httpx.Client) -> None:
    body = api.get("/").json()
    assert api.get(body["documentation"]).status_code == 200
    assert api.get(body["health"]).status_code == 200


def test_the_documentation_loads_nothing_from_elsewhere(api: httpx.Client) -> None:
    answer = api.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "<script" not in answer.text
    assert not re.findall(r"""(?:src|href)=["']?https?:""", answer.text)
    assert "/api/v1/environments/{environment_id}/restart" in answer.text


@pytest.mark.parametrize("path", ["/redoc", "/api-docs", "/api/v1/docs"])
def test_other_addresses_of_it_lead_there(api: httpx.Client, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 302
    assert answer.headers["location"] == "/docs"


def test_figures_need_their_token(api: httpx.Client) -> None:
    assert api.get("/metrics").status_code == 401
    assert api.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    answer = api.get("/metrics", headers={"Authorization": "Bearer figures-for-the-operator"})
    assert answer.status_code == 200
    assert 'devpocket_http_requests_total{route="/metrics",status="4xx"}' in answer.text
    assert 'devpocket_sockets_open{kind="terminal"}' in answer.text


def test_clusters_have_one_entry_with_real_figures(api: httpx.Client, person: Person) -> None:
    (cluster,) = api.get("/api/v1/clusters/", headers=person.headers).json()
    assert cluster["available_resources"]["memory"] > 0
    assert cluster["used_resources"]["storage"] > 0
    one = api.get(f"/api/v1/clusters/{cluster['id']}", headers=person.headers).json()
    assert one["id"] == cluster["id"]
    health = api.get(f"/api/v1/clusters/{cluster['id']}/health", headers=person.headers).json()
    assert health["status"] == "healthy"
    assert api.get("/api/v1/clusters/other", headers=person.headers).status_code == 404
