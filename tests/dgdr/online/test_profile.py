"""What a profiling job does, on an API server in the test's process and at a stand-in engine on real HTTP."""

from __future__ import annotations

import asyncio
import json
import signal
import sys

import pytest

from connectors.kubernetes import Access, KubernetesApi
from connectors.kubernetes.resources import CONFIG_MAPS, DEPLOYMENTS
from planner.dgdr.ownership import NAME, NAMESPACE, TRIAL, Owner, labels_of
from planner.dgdr.result import MANIFESTS, PROGRESS, Result
from profiles import read_data
from tests.dgdr.controller.world import World, alpha
from tests.profiles.making.conftest import StandIn

QUICK = [
    *("--prefill-points", "3", "--context-points", "2", "--batch-points", "2", "--isl-range", "100,800"),
    *("--log-level", "info", "--log-format", "json"),
]


@pytest.fixture
async def world(fake, tmp_path):
    access = Access(kubeconfig=fake.kubeconfig(tmp_path))
    api = KubernetesApi(access, timeout_s=5)
    await api.start()
    async with World(api, access) as world:
        world.operate()
        yield world
    await api.close()


@pytest.fixture
async def engine():
    async with StandIn(speed=30, max_kv_tokens=4000) as engine:
        yield engine


def request(**hardware):
    body = alpha(online=True)
    if hardware:
        body["spec"]["profilingConfig"]["config"]["hardware"] = hardware
    return body


class Job:
    """The command of a job, as a process."""

    def __init__(self, world, engine, folder, body):
        manifest = {**body, "metadata": {"name": "llama", "namespace": world.namespace, "uid": body["metadata"]["uid"]}}
        self.output = folder / "data"
        self.arguments = [
            *(sys.executable, "-m", "planner", "dgdr", "profile", "--request-json", json.dumps(manifest)),
            *("--output", str(self.output), "--endpoint", engine.url),
            *("--kubeconfig", str(world.access.kubeconfig), *QUICK),
        ]

    async def start(self, *more):
        self.process = await asyncio.create_subprocess_exec(
            *self.arguments, *more, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        return self

    async def end(self):
        _, shown = await asyncio.wait_for(self.process.communicate(), 120)
        return self.process.returncode, shown.decode()


async def test_engines_are_measured_chosen_and_made_a_deployment_of(world, engine, tmp_path):
    body = await world.create(request(minNumGpusPerEngine=1, maxNumGpusPerEngine=2))
    job = await Job(world, engine, tmp_path, body).start()
    seen, phases = {}, set()

    async def ended():
        for one in (await world.api.list_all(DEPLOYMENTS, world.namespace, labels=TRIAL))[0]:
            seen[one["metadata"]["name"]] = one
        if "dgdr-output-llama" in await world.names(CONFIG_MAPS):
            data = (await world.api.get(CONFIG_MAPS, world.namespace, "dgdr-output-llama"))["data"]
            phases.add(json.loads(data.get(PROGRESS, "{}")).get("phase"))
        return job.process.returncode is not None

    waiting = asyncio.create_task(job.end())
    await world.wait(ended, "the job ends")
    code, shown = await waiting
    assert code == 0, shown
    assert await world.names(DEPLOYMENTS) == [], "temporary deployments are gone"
    assert sorted(seen) == ["llama-trial-1", "llama-trial-2"]
    for gpus, one in (("1", seen["llama-trial-1"]), ("2", seen["llama-trial-2"])):
        services = one["spec"]["services"]
        workers = {name: worker for name, worker in services.items() if "subComponentType" in worker}
        assert len(workers) == 2
        assert "planner" not in {worker["componentType"] for worker in services.values()}
        for worker in workers.values():
            assert worker["resources"]["limits"]["gpu"] == gpus
            assert worker["replicas"] == 1
            assert "scalingAdapter" not in worker
            assert "Qwen/Qwen3-32B" in worker["extraPodSpec"]["mainContainer"]["args"]
        assert one["metadata"]["ownerReferences"][0]["uid"] == body["metadata"]["uid"]
    found = await world.api.get(CONFIG_MAPS, world.namespace, "dgdr-output-llama")
    assert Owner.of(body).owns(found)
    result = Result.parse(found["data"][MANIFESTS])
    assert result.dgd["kind"] == "DynamoGraphDeployment"
    assert any("prefill_raw_data.json" in one["data"] for one in result.additional)
    folder = job.output / f"llama-{body['metadata']['uid'][:8]}"
    data = read_data(folder / "profile")
    assert data.provenance.decode.max_num_seqs is None or data.provenance.decode.max_num_seqs > 0
    assert data.decode.max_kv_tokens == engine.max_kv_tokens
    assert {one["gpus"] for one in data.provenance.details["candidates"]} == {1, 2}
    assert {data.provenance.prefill.gpus, data.provenance.decode.gpus} <= {1, 2}
    workers = {one.get("subComponentType"): one for one in result.dgd["spec"]["services"].values()}
    assert workers["prefill"]["resources"]["limits"]["gpu"] == str(data.provenance.prefill.gpus)
    assert workers["decode"]["resources"]["limits"]["gpu"] == str(data.provenance.decode.gpus)
    assert (folder / "profile.png").stat().st_size > 10_000
    assert (job.output / "planner.log").exists()

    asked = engine.requests
    code, shown = await (await job.start()).end()
    assert code == 0, shown
    assert engine.requests == asked, "what is there is not made again"


async def test_a_job_that_is_told_to_end_removes_what_it_made_and_the_next_goes_on(world, engine, tmp_path):
    body = await world.create(request())
    job = await Job(world, engine, tmp_path, body).start()

    async def measuring():
        return engine.requests > 20

    await world.wait(measuring, "it measures")
    job.process.send_signal(signal.SIGTERM)
    code, shown = await job.end()
    assert code == 130, shown
    await world.gone(DEPLOYMENTS, "llama-trial-base")
    journal = next(job.output.rglob("measurement.jsonl"))
    kept = journal.read_text().splitlines()
    assert len(kept) > 1
    code, shown = await (await job.start()).end()
    assert code == 0, shown
    assert journal.read_text().splitlines()[: len(kept)] == kept


async def test_engines_that_do_not_start_are_told_of(world, engine, tmp_path):
    world.ready, world.fails = False, "0/8 nodes are available: 8 Insufficient nvidia.com/gpu."
    body = await world.create(request())
    code, shown = await (await Job(world, engine, tmp_path, body).start("--ready-timeout", "0.5")).end()
    assert code == 2
    assert "Insufficient nvidia.com/gpu" in shown.splitlines()[-1]
    assert await world.names(DEPLOYMENTS) == []


@pytest.mark.parametrize("labels", [{}, {NAME: "llama", NAMESPACE: "ml"}], ids=["somebody's", "the request's own"])
async def test_a_deployment_that_is_not_temporary_is_left_alone(world, engine, tmp_path, labels):
    body = await world.create(request())
    there = {"metadata": {"name": "llama-trial-base", "labels": labels}, "spec": {"services": {}}}
    await world.api.create(DEPLOYMENTS, world.namespace, there)
    code, shown = await (await Job(world, engine, tmp_path, body).start()).end()
    assert code == 2
    assert "is not a temporary one of this request: delete it" in shown.splitlines()[-1]
    assert labels_of(await world.api.get(DEPLOYMENTS, world.namespace, "llama-trial-base")) == labels


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--request-json", "{"], "--request-json is no manifest"),
        (["--request-json", "[]"], "is no manifest but list"),
        (["-f", "/nowhere"], "/nowhere cannot be read"),
        (["--request-json", json.dumps(alpha())], "give it as the cluster has it"),
    ],
)
def test_a_request_that_is_none_is_told(arguments, complaint, tmp_path, capsys):
    from planner.__main__ import main

    assert main(["dgdr", "profile", *arguments, "--output", str(tmp_path)]) == 2
    assert complaint in capsys.readouterr().err
