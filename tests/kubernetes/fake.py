"""An API server in the test's own process, on the real wire format, that fails as it is told.

What it does is what ``test_api_conformance.py`` asks of it and of a real kube-apiserver alike.
"""

from __future__ import annotations

import asyncio
import copy
import json
import time
import uuid
from collections import deque
from dataclasses import dataclass, field

import yaml
from aiohttp import web

TOKEN = "token-of-a-test"
MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"


@dataclass(frozen=True)
class Kind:
    kind: str
    status: bool = False
    scale: bool = False
    custom: bool = False


KINDS = {
    ("nvidia.com", "dynamographdeployments"): Kind("DynamoGraphDeployment", status=True, custom=True),
    ("nvidia.com", "dynamographdeploymentscalingadapters"): Kind(
        "DynamoGraphDeploymentScalingAdapter", status=True, scale=True, custom=True
    ),
    ("nvidia.com", "dynamographdeploymentrequests"): Kind("DynamoGraphDeploymentRequest", status=True, custom=True),
    ("nvidia.com", "dynamoworkermetadatas"): Kind("DynamoWorkerMetadata", custom=True),
    ("", "pods"): Kind("Pod", status=True),
    ("", "events"): Kind("Event"),
    ("", "configmaps"): Kind("ConfigMap"),
    ("", "serviceaccounts"): Kind("ServiceAccount"),
    ("", "persistentvolumeclaims"): Kind("PersistentVolumeClaim"),
    ("batch", "jobs"): Kind("Job", status=True),
    ("coordination.k8s.io", "leases"): Kind("Lease"),
}
VERSIONS = {"nvidia.com": ("v1alpha1", "v1beta1"), "": ("v1",), "batch": ("v1",), "coordination.k8s.io": ("v1",)}


@dataclass
class Fault:
    """What to do instead of answering, for the next so many requests that match."""

    method: str
    part: str
    times: int
    status: int = 0
    headers: dict = field(default_factory=dict)
    text: str = ""
    way: str = "status"  # or reset, hang, truncate, after (do it, then break the connection)


class FakeApiServer:
    """Holds objects; ``start`` listens on loopback."""

    def __init__(self):
        self.objects = {}
        self.log = deque()
        self.revision = 100
        self.compacted = 100
        self.faults = []
        self.forbidden = set()
        self.tokens = {TOKEN}
        self.requests = []
        self.changed = asyncio.Condition()
        self.versions = dict(VERSIONS)
        self._runner = None
        self._writing = asyncio.Lock()

    async def start(self, ssl_context=None):
        app = web.Application(client_max_size=4 * 2**20)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=ssl_context)
        await site.start()
        self.url = f"http{'s' if ssl_context else ''}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self):
        await self._runner.cleanup()

    def kubeconfig(self, folder, namespace="default", token=TOKEN):
        path = folder / f"kubeconfig-{namespace}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "clusters": [{"name": "x", "cluster": {"server": self.url}}],
            "users": [{"name": "x", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": namespace}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def fail(self, method, part, times=1, **how):
        """Let the next requests of a method, whose address has a part in it, fail."""
        self.faults.append(Fault(method, part, times, **how))

    def forbid(self, *rights):
        """Take away rights, each as ``verb resource`` or ``verb resource/subresource``."""
        self.forbidden.update(rights)

    def compact(self):
        """Forget the past: who watches from before must list again."""
        self.compacted = self.revision
        self.log.clear()

    def find(self, plural, namespace, name):
        return next((o for k, o in self.objects.items() if k[1:] == (plural, namespace, name)), None)

    async def _serve(self, request):
        self.requests.append((request.method, request.path_qs))
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return _status(401, "Unauthorized")
        fault = next(
            (f for f in self.faults if f.times and f.method == request.method and f.part in request.path_qs), 0
        )
        if not fault:
            return await self._answer(request)
        fault.times -= 1
        return await self._misbehave(request, fault)

    async def _misbehave(self, request, fault):
        match fault.way:
            case "reset":
                request.transport.abort()
                return web.Response()
            case "hang":
                await asyncio.sleep(30)
                return web.Response()
            case "after":
                await self._answer(request)
                request.transport.abort()
                return web.Response()
            case "truncate":
                response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
                await response.prepare(request)
                await response.write(b'{"kind": "Dyn')
                request.transport.abort()
                return response
        if fault.text:
            return web.Response(status=fault.status, text=fault.text, headers=fault.headers)
        return _status(fault.status, "as the test wants it", headers=fault.headers)

    async def _answer(self, request):  # noqa: PLR0911 - an answer for each thing that may be asked
        if request.path.endswith("/selfsubjectaccessreviews"):
            return await self._review(request)
        parts = [part for part in request.path.split("/") if part]
        group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
        if not rest or rest[0] not in self.versions.get(group, ()):
            return web.Response(status=404, text="404 page not found\n")
        version, rest = rest[0], rest[1:]
        if not rest:
            return web.json_response(self._discovery(group, version))
        namespace = None
        if rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        plural, name, sub = [*rest, None, None][:3]
        kind = KINDS.get((group, plural))
        if kind is None:
            return web.Response(status=404, text="404 page not found\n")
        verb = _verb(request, name)
        if f"{verb} {plural}{'/' + sub if sub else ''}" in self.forbidden:
            return _status(403, f'{plural} is forbidden: cannot {verb} resource "{plural}"')
        place = (group, plural, namespace)
        if verb == "watch":
            return await self._watch(request, place, version)
        async with self._writing:
            handler = getattr(self, f"_{verb}")
            return await handler(request, (kind, place, version), name, sub)

    async def _review(self, request):
        asked = (await request.json())["spec"]["resourceAttributes"]
        what = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
        return web.json_response({"status": {"allowed": f"{asked['verb']} {what}" not in self.forbidden}}, status=201)

    def _discovery(self, group, version):
        names = []
        for (of, plural), kind in KINDS.items():
            if of == group:
                subs = [sub for sub in ("status", "scale") if getattr(kind, sub)]
                names += [plural, *(f"{plural}/{sub}" for sub in subs)]
        title = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "groupVersion": title, "resources": [{"name": name} for name in names]}

    async def _list(self, request, what, name, sub):
        kind, place, version = what
        items = [_shown(o, place, version) for k, o in sorted(self.objects.items()) if _within(k, place)]
        items = [item for item in items if _selected(item, request.query)]
        return web.json_response(
            {
                "kind": f"{kind.kind}List",
                "metadata": {"resourceVersion": str(self.revision)},
                "items": items,
            }
        )

    async def _get(self, request, what, name, sub):
        kind, place, version = what
        found = self.objects.get((*place, name))
        if found is None or (sub and not getattr(kind, sub, False)):
            return _status(404, f'{place[1]}.{place[0]} "{name}" not found')
        return web.json_response(_scale(found) if sub == "scale" else _shown(found, place, version))

    async def _create(self, request, what, name, sub):
        kind, place, version = what
        body = await request.json()
        key = (*place, body["metadata"]["name"])
        if key in self.objects:
            return _status(409, f'{place[1]} "{key[3]}" already exists', reason="AlreadyExists")
        if kind.custom and kind.status:
            body.pop("status", None)
        body["metadata"] |= {
            "namespace": place[2],
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if trouble := _invalid(body):
            return _status(422, trouble)
        await self._store(key, body, "ADDED")
        return web.json_response(_shown(body, place, version), status=201)

    async def _update(self, request, what, name, sub):
        kind, place, _version = what
        found = self.objects.get((*place, name))
        if found is None or (sub and not getattr(kind, sub, False)):
            return _status(404, f'{place[1]} "{name}" not found')
        body = await request.json()
        wanted = body["metadata"].get("resourceVersion")
        if wanted and wanted != found["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        return await self._change(what, found, body, sub)

    async def _patch(self, request, what, name, sub):
        kind, place, _version = what
        found = self.objects.get((*place, name))
        if found is None or (sub and not getattr(kind, sub, False)):
            return _status(404, f'{place[1]} "{name}" not found')
        given, text = request.headers.get("Content-Type", ""), await request.text()
        current = _scale(found) if sub == "scale" else copy.deepcopy(found)
        try:
            if given == MERGE:
                changed = merged(current, json.loads(text))
            elif given == PATCH:
                changed = patched(current, json.loads(text))
            else:
                return _status(415, f"the body of the request was in an unknown format - accepted media types: {given}")
        except (ValueError, LookupError, TypeError, AttributeError):
            is_list = text.lstrip().startswith("[")
            wrong_kind = is_list != (given == PATCH)
            return _status(400 if wrong_kind else 422, "the server rejected our request due to an error in our request")
        wanted = changed.get("metadata", {}).get("resourceVersion")
        if wanted != found["metadata"]["resourceVersion"]:
            return _status(409, "the object has been modified; please apply your changes to the latest version")
        if sub == "scale":
            replicas = changed["spec"].get("replicas", 0)
            changed = copy.deepcopy(found)
            changed["spec"]["replicas"] = replicas
        return await self._change(what, found, changed, sub)

    async def _change(self, what, found, wanted, sub):
        kind, place, version = what
        changed = copy.deepcopy(found)
        if sub == "status":
            changed["status"] = wanted.get("status")
        else:
            keep = {
                k: found["metadata"].get(k) for k in ("uid", "creationTimestamp", "generation", "namespace", "name")
            }
            status = found.get("status")
            changed = copy.deepcopy(wanted)
            changed["metadata"] = {**wanted["metadata"], **keep}
            if kind.status:
                changed["status"] = status
            if changed.get("spec") != found.get("spec"):
                changed["metadata"]["generation"] += 1
        if trouble := _invalid(changed):
            return _status(422, trouble)
        changed = {key: value for key, value in changed.items() if value is not None}
        if changed != found:
            await self._store((*place, found["metadata"]["name"]), changed, "MODIFIED")
        return web.json_response(_scale(changed) if sub == "scale" else _shown(changed, place, version))

    async def _delete(self, request, what, name, sub):
        _kind, place, _version = what
        found = self.objects.pop((*place, name), None)
        if found is None:
            return _status(404, f'{place[1]} "{name}" not found')
        await self._store((*place, name), found, "DELETED")
        return _status(200, "", state="Success")

    async def _store(self, key, body, event):
        async with self.changed:
            self.revision += 1
            body["metadata"]["resourceVersion"] = str(self.revision)
            if event != "DELETED":
                self.objects[key] = body
            self.log.append((self.revision, key, event, copy.deepcopy(body)))
            self.changed.notify_all()

    async def _watch(self, request, place, version):
        since = int(request.query.get("resourceVersion") or self.revision)
        deadline = asyncio.get_running_loop().time() + float(request.query.get("timeoutSeconds", 30))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        if since < self.compacted:
            await response.write(_line("ERROR", _body(410, "too old resource version", reason="Expired")))
            return response
        while True:
            for revision, key, event, body in list(self.log):
                if revision > since and _within(key, place) and _selected(body, request.query):
                    await response.write(_line(event, _shown(body, place, version)))
            since = max(since, self.revision)
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                mark = {"metadata": {"resourceVersion": str(since)}}
                await response.write(_line("BOOKMARK", mark))
                return response
            async with self.changed:
                try:
                    await asyncio.wait_for(
                        self.changed.wait_for(lambda seen=since: self.revision > seen), min(left, 1.0)
                    )
                except TimeoutError:
                    continue


def _verb(request, name):
    match request.method:
        case "GET" if name:
            return "get"
        case "GET":
            return "watch" if request.query.get("watch") == "true" else "list"
    return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]


def _within(key, place):
    return key[:2] == place[:2] and place[2] in (None, key[2])


def _shown(body, place, version):
    group = place[0]
    kind = KINDS[place[:2]]
    return {**body, "apiVersion": f"{group}/{version}" if group else version, "kind": kind.kind}


def _scale(body):
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: body["metadata"].get(k) for k in ("name", "namespace", "uid", "resourceVersion")},
        "spec": {"replicas": body["spec"].get("replicas", 0)},
        "status": {"replicas": (body.get("status") or {}).get("replicas", 0)},
    }


def _selected(item, query):
    labels = item["metadata"].get("labels") or {}
    for pair in filter(None, query.get("labelSelector", "").split(",")):
        key, equals, value = pair.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    for pair in filter(None, query.get("fieldSelector", "").split(",")):
        key, _, value = pair.partition("=")
        if item["metadata"].get(key.removeprefix("metadata.")) != value:
            return False
    return True


def _invalid(body):
    """The one rule of the schemas that the planner could break."""
    spec = body.get("spec") or {}
    places = [spec, *(spec.get("services") or {}).values(), *(spec.get("components") or ())]
    if any(isinstance(place.get("replicas"), int) and place["replicas"] < 0 for place in places):
        return f'"{body["metadata"]["name"]}" is invalid: replicas: Invalid value: should be greater than or equal to 0'
    return None


def merged(old, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        raise TypeError
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value) if isinstance(value, dict) else value
    return result


def patched(old, operations):
    """RFC 6902, as far as the planner uses it."""
    if not isinstance(operations, list):
        raise TypeError
    result = copy.deepcopy(old)
    for operation in operations:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place = result
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        last = int(last) if isinstance(place, list) else last
        match operation["op"]:
            case "test":
                if place[last] != operation["value"]:
                    raise ValueError
            case "add" | "replace":
                place[last] = operation["value"]
            case "remove":
                del place[last]
    return result


def _body(code, message, reason="", state="Failure"):
    return {"kind": "Status", "apiVersion": "v1", "status": state, "message": message, "reason": reason, "code": code}


def _status(code, message, headers=None, reason="", state="Failure"):
    return web.json_response(_body(code, message, reason, state), status=code, headers=headers)


def _line(event, body):
    return json.dumps({"type": event, "object": body}).encode() + b"\n"
