import asyncio
import json
import time

import httpx
import jsonschema
import pytest
import yaml
from aiohttp import web
from openapi_spec_validator import validate

from connectors.virtual import EmbeddedStore, Listen, VirtualState
from connectors.virtual.api import add_routes, openapi
from planner import Workers

DECISION = "/api/v1/decision"
WAIT = "/api/v1/decision/wait"
WORKERS = "/api/v1/workers"
DOCUMENT = yaml.safe_load(openapi())
NONE_YET = {"num_prefill_workers": -1, "num_decode_workers": -1, "decision_id": -1, "scaled_decision_id": -1}
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    422: "Unprocessable Entity",
    503: "Service Unavailable",
}


def documented(name, body):
    """A body is as openapi.yaml says."""
    jsonschema.validate(body, {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})
    return body


def problem(response, status):
    """A refusal is a problem of that status; its detail."""
    assert response.status_code == status
    assert response.headers["content-type"].split(";")[0] == "application/problem+json"
    body = documented("Problem", response.json())
    assert set(body) == {"type", "title", "status", "detail"}
    assert (body["type"], body["title"], body["status"]) == ("about:blank", TITLES[status], status)
    assert body["detail"]
    return body["detail"]


@pytest.fixture
def decide(connector, decision):
    """Publish a decision, whatever the one before is about."""

    async def publish(prefill, decode):
        await connector.store.update(lambda state: state.decide(prefill, decode, 0.0))

    return publish


@pytest.fixture
async def guarded(make_connector):
    """A plain HTTP client of a connector that wants to see the token ``gehäim``."""
    connector = make_connector(listen=Listen("127.0.0.1", 0), token="gehäim")
    await connector.start()
    async with httpx.AsyncClient(base_url=connector.url, trust_env=False, verify=False) as http:
        yield http


async def test_before_the_first_decision_everything_is_minus_one(http):
    response = await http.get(DECISION)
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == "application/json"
    assert documented("Decision", response.json()) == NONE_YET


async def test_a_decision_is_served(http, connector, decision):
    await connector.apply(decision(3, 5))
    assert documented("Decision", (await http.get(DECISION)).json()) == {
        "num_prefill_workers": 3,
        "num_decode_workers": 5,
        "decision_id": 0,
        "scaled_decision_id": -1,
    }


async def test_a_decision_is_served_after_it_is_completed_too(http, decide):
    await decide(3, 5)
    await http.post(f"{DECISION}/0/complete")
    body = (await http.get(DECISION)).json()
    assert (body["decision_id"], body["scaled_decision_id"]) == (0, 0)


async def test_waiting_for_a_decision_that_is_outstanding_returns_at_once(http, decide):
    await decide(3, 5)
    begun = time.monotonic()
    response = await http.get(WAIT)
    assert time.monotonic() - begun < 1
    assert response.status_code == 200
    assert documented("Decision", response.json())["decision_id"] == 0


@pytest.mark.parametrize("seconds", ["0", "0.2"])
async def test_waiting_in_vain_ends_with_no_content(http, seconds):
    begun = time.monotonic()
    response = await http.get(WAIT, params={"timeout": seconds})
    assert float(seconds) <= time.monotonic() - begun + 0.02
    assert time.monotonic() - begun < float(seconds) + 1
    assert (response.status_code, response.content) == (204, b"")


async def test_a_completed_decision_is_not_waited_for(http, decide):
    await decide(3, 5)
    await http.post(f"{DECISION}/0/complete")
    assert (await http.get(WAIT, params={"timeout": 0.05})).status_code == 204


async def test_who_waits_wakes_when_a_decision_is_made(http, connector, decision):
    waiting = [asyncio.ensure_future(http.get(WAIT, params={"timeout": 30})) for _ in range(3)]
    await asyncio.sleep(0.1)
    assert not any(wait.done() for wait in waiting)
    await connector.apply(decision(3, 5))
    responses = await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert [response.json()["decision_id"] for response in responses] == [0, 0, 0]


async def test_a_report_of_workers_does_not_wake_who_waits_for_a_decision(http):
    waiting = asyncio.ensure_future(http.get(WAIT, params={"timeout": 0.3}))
    await asyncio.sleep(0.05)
    await http.put(WORKERS, json={"prefill": {"ready": 1}})
    assert (await waiting).status_code == 204


async def test_only_a_decision_after_the_given_one_is_waited_for(http, decide):
    await decide(3, 5)
    assert (await http.get(WAIT, params={"after": -1, "timeout": 0.05})).status_code == 200
    assert (await http.get(WAIT, params={"after": 0, "timeout": 0.05})).status_code == 204
    waiting = asyncio.ensure_future(http.get(WAIT, params={"after": 0, "timeout": 30}))
    await asyncio.sleep(0.05)
    await decide(4, 6)
    assert (await asyncio.wait_for(waiting, 1)).json()["decision_id"] == 1


async def test_who_hangs_up_while_waiting_is_in_nobodys_way(http, connector, decision):
    with pytest.raises(httpx.ReadTimeout):
        await http.get(WAIT, timeout=0.1)
    await connector.apply(decision(3, 5))
    assert (await http.get(WAIT)).json()["decision_id"] == 0


@pytest.mark.parametrize(
    "query",
    ["after=one", "after=", "after=1.5", "after=-2", "timeout=soon", "timeout=", "timeout=nan", "timeout=-7"],
)
async def test_a_wait_for_something_odd_is_refused(http, query):
    assert query.split("=", maxsplit=1)[0] in problem(await http.get(f"{WAIT}?{query}"), 400)


async def test_completing_is_acknowledged(http, decide):
    await decide(3, 5)
    response = await http.post(f"{DECISION}/0/complete")
    assert response.status_code == 200
    assert documented("Decision", response.json())["scaled_decision_id"] == 0


async def test_completing_twice_is_fine(http, decide):
    await decide(3, 5)
    first = await http.post(f"{DECISION}/0/complete")
    second = await http.post(f"{DECISION}/0/complete")
    assert (second.status_code, second.json()) == (200, first.json())


async def test_completing_an_older_one_changes_nothing(http, decide):
    await decide(3, 5)
    await decide(4, 6)
    await http.post(f"{DECISION}/1/complete")
    response = await http.post(f"{DECISION}/0/complete")
    assert (response.status_code, response.json()["scaled_decision_id"]) == (200, 1)


async def test_completing_a_decision_that_was_never_made_is_refused(http, decide):
    assert "there is none yet" in problem(await http.post(f"{DECISION}/0/complete"), 404)
    await decide(3, 5)
    assert "the newest is 0" in problem(await http.post(f"{DECISION}/1/complete"), 404)
    problem(await http.post(f"{DECISION}/{'9' * 5000}/complete"), 404)


@pytest.mark.parametrize("number", ["first", "-1", "1.0", "0x0", "%20", "%C2%B2", "%D9%A0"])
async def test_completing_what_is_no_number_is_refused(http, decide, number):
    await decide(3, 5)
    problem(await http.post(f"{DECISION}/{number}/complete"), 400)
    assert (await http.get(DECISION)).json()["scaled_decision_id"] == -1


async def test_before_a_report_no_workers_are_known(http, decide):
    await decide(3, 5)
    response = await http.get(WORKERS)
    assert (response.status_code, response.json()) == (200, {"prefill": None, "decode": None})


async def test_workers_are_served_as_reported(http, connector):
    both = {"prefill": {"ready": 3, "pending": 1, "draining": 2}, "decode": {"ready": 0, "pending": 0, "draining": 0}}
    response = await http.put(WORKERS, json=both)
    assert (response.status_code, response.json()) == (200, both)
    assert (await http.get(WORKERS)).json() == both
    assert (await connector.workers()).prefill == Workers(3, 1, 2)
    for pool in both.values():
        documented("Workers", pool)


async def test_a_pool_that_is_left_out_stays_as_it_was(http):
    await http.put(WORKERS, json={"prefill": {"ready": 3}})
    body = (await http.put(WORKERS, json={"decode": {"ready": 5, "pending": 1}})).json()
    assert body["prefill"] == {"ready": 3, "pending": 0, "draining": 0}
    assert body["decode"] == {"ready": 5, "pending": 1, "draining": 0}


async def test_a_whole_number_may_be_written_with_a_point(http):
    answer = await http.put(WORKERS, content='{"prefill": {"ready": 2.0}}')
    assert answer.text.startswith('{"prefill": {"ready": 2,')


async def test_the_largest_count_is_a_million(http):
    assert (await http.put(WORKERS, json={"prefill": {"ready": 1_000_000}})).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"{", b"prefill=3", b"\xff\xfe\xfd", b'{"prefill": {"ready": 1}} x', b"9" * 5000]
)
async def test_workers_that_are_no_json_are_refused(http, body):
    assert "no JSON" in problem(await http.put(WORKERS, content=body), 400)
    assert (await http.get(WORKERS)).json() == {"prefill": None, "decode": None}


@pytest.mark.parametrize(
    "body",
    [
        None,
        5,
        "prefill",
        [],
        [{"prefill": {"ready": 1}}],
        {},
        {"other": {"ready": 1}},
        {"prefill": {"ready": 1}, "other": {"ready": 1}},
        {"prefill": None},
        {"prefill": 3},
        {"prefill": []},
        {"prefill": {}},
        {"prefill": {"pending": 1}},
        {"prefill": {"ready": 1, "idle": 1}},
        {"prefill": {"ready": -1}},
        {"prefill": {"ready": 1_000_001}},
        {"prefill": {"ready": 1.5}},
        {"prefill": {"ready": True}},
        {"prefill": {"ready": "1"}},
        {"prefill": {"ready": None}},
        {"prefill": {"ready": [1]}},
        {"prefill": {"ready": float("inf")}},
        {"prefill": {"ready": float("nan")}},
        {"prefill": {"ready": 1, "draining": -1}},
        {"prefill": {"ready": 1}, "decode": {"ready": -1}},
    ],
    ids=str,
)
async def test_workers_of_another_shape_are_refused_as_a_whole(http, body):
    problem(await http.put(WORKERS, content=json.dumps(body)), 422)
    assert (await http.get(WORKERS)).json() == {"prefill": None, "decode": None}


async def test_a_body_too_large_is_refused(http):
    problem(await http.put(WORKERS, content=b'{"prefill": {"ready": 1}' + b" " * 17_000 + b"}"), 413)
    assert (await http.get(WORKERS)).json()["prefill"] is None


@pytest.mark.parametrize(
    "path", ["/", "/api/v1", "/api/v1/decisions", "/api/v2/decision", f"{DECISION}/", f"{DECISION}/0", "/metrics"]
)
async def test_a_route_that_is_not_there_is_a_problem(http, path):
    assert problem(await http.get(path), 404).startswith("there is no page /")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", DECISION),
        ("DELETE", DECISION),
        ("PUT", WAIT),
        ("GET", f"{DECISION}/0/complete"),
        ("POST", WORKERS),
        ("DELETE", WORKERS),
        ("PUT", "/openapi.yaml"),
    ],
)
async def test_a_method_that_is_not_there_is_a_problem(http, method, path):
    assert f" does not take {method}; it takes " in problem(await http.request(method, path), 405)


async def test_a_state_that_cannot_be_kept_is_a_problem_of_the_planner(make_connector, state_file, decision):
    connector = make_connector(store=EmbeddedStore(state_file), listen=Listen("127.0.0.1", 0))
    await connector.start()
    await connector.apply(decision(3, 5))
    state_file.unlink()
    state_file.mkdir()
    async with httpx.AsyncClient(base_url=connector.url, trust_env=False, verify=False) as http:
        assert "cannot be written" in problem(await http.post(f"{DECISION}/0/complete"), 503)
        assert "cannot be written" in problem(await http.put(WORKERS, json={"prefill": {"ready": 1}}), 503)
        assert (await http.get(DECISION)).json()["scaled_decision_id"] == -1


ROUTES = [
    ("GET", DECISION),
    ("GET", f"{WAIT}?timeout=0"),
    ("POST", f"{DECISION}/0/complete"),
    ("GET", WORKERS),
    ("PUT", WORKERS),
    ("GET", "/openapi.yaml"),
    ("GET", "/not/there"),
    ("DELETE", WORKERS),
]


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"gehaeim",
        b"Bearer",
        b"Bearer wrong",
        b"Bearer geh",
        "gehäim".encode(),
        "Basic gehäim".encode(),
        "Bearer gehäim2".encode(),
        "Bearer gehäim".encode("latin-1"),
        b"Bearer \xff\xfe",
    ],
    ids=str,
)
async def test_without_the_right_token_nothing_is_served(guarded, header):
    headers = {} if header is None else {"Authorization": header}
    for method, path in ROUTES:
        response = await guarded.request(method, path, headers=headers)
        assert "bearer token" in problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
        assert "gehäim" not in response.text


async def test_with_the_right_token_everything_is_served(guarded):
    headers = {"Authorization": "Bearer gehäim".encode()}
    answers = [(await guarded.request(method, path, headers=headers)).status_code for method, path in ROUTES]
    assert answers == [200, 204, 404, 200, 400, 200, 404, 405]


async def test_a_token_that_nobody_wants_does_no_harm(http):
    assert (await http.get(DECISION, headers={"Authorization": "Bearer anything"})).status_code == 200


async def test_closing_the_connector_ends_who_waits(http, connector):
    waiting = [asyncio.ensure_future(http.get(WAIT, params={"timeout": 30})) for _ in range(3)]
    await asyncio.sleep(0.1)
    begun = time.monotonic()
    await connector.close()
    responses = await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert time.monotonic() - begun < 1
    assert [response.status_code for response in responses] == [204, 204, 204]
    with pytest.raises(httpx.ConnectError):
        await http.get(DECISION)


async def test_the_document_is_served(http):
    response = await http.get("/openapi.yaml")
    assert response.status_code == 200
    assert response.headers["content-type"].split(";")[0] == "application/yaml"
    assert response.text == openapi()


def test_the_document_is_valid_openapi():
    assert DOCUMENT["openapi"] == "3.1.0"
    validate(DOCUMENT)


def test_every_reference_of_the_document_leads_somewhere():
    references = []

    def collect(part):
        if isinstance(part, dict):
            references.extend(value for key, value in part.items() if key == "$ref")
        for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            collect(inner)

    collect(DOCUMENT)
    assert references
    for reference in references:
        root, *steps = reference.split("/")
        assert root == "#"
        part = DOCUMENT
        for step in steps:
            part = part[step]


def test_no_part_of_the_document_is_unused():
    for kind in ("responses", "schemas"):
        for name in DOCUMENT["components"][kind]:
            assert f"#/components/{kind}/{name}" in openapi()


async def test_the_document_names_the_routes_that_there_are():
    written = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    app = web.Application()
    add_routes(app, EmbeddedStore())
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.method != "HEAD"}
    assert written == served


def test_the_document_names_what_a_decision_is_made_of():
    schema = DOCUMENT["components"]["schemas"]["Decision"]
    assert set(schema["properties"]) == set(schema["required"]) == set(NONE_YET)
    assert NONE_YET["decision_id"] == VirtualState().decision.decision_id


async def test_a_wrong_method_says_which_are_allowed(http):
    refused = await http.delete("/api/v1/decision")
    assert refused.status_code == 405
    assert set(refused.headers["Allow"].split(",")) >= {"GET"}


@pytest.mark.parametrize(
    ("body", "content_type"), [("[" * 16_000, "application/json"), ("{}", "application/json; charset=nonsense")]
)
async def test_bodies_that_cannot_be_read_are_refused(http, body, content_type):
    refused = await http.put("/api/v1/workers", content=body, headers={"Content-Type": content_type})
    assert refused.status_code == 400
    assert refused.headers["Content-Type"].startswith("application/problem+json")


async def test_a_negative_time_to_wait_is_refused(http):
    assert (await http.get("/api/v1/decision/wait", params={"timeout": -1})).status_code == 400
