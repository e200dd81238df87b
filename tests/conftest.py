"""What tests of every room share."""

from __future__ import annotations

import os

# Before anything loads a library of linear algebra: tests share the cores, and its threads would wait for each other.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from planner.core.decision import Action, Bound, Decision, Explanation, PoolExplanation
from profiles import EngineProfile, load_profiles, sample_profile_dir

hypothesis_settings.register_profile("planner", deadline=None, derandomize=True, max_examples=100)
hypothesis_settings.load_profile("planner")


class VirtualClock:
    """A clock that jumps: waiting takes no time."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self.time = start

    def now(self) -> float:
        return self.time

    async def sleep_until(self, when: float) -> None:
        await asyncio.sleep(0)
        self.time = max(self.time, when)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(scope="session")
def profile() -> EngineProfile:
    return load_profiles(sample_profile_dir(), prefill_gpus=1, decode_gpus=1)


def free_tcp_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def free_port():
    """Finds ports on loopback that nobody listens on: ``free_port()``."""

    return free_tcp_port


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not depend on the environment they run in."""
    from planner.settings import Settings, environment_names

    for name in Settings.model_fields:
        for variable in environment_names(name):
            monkeypatch.delenv(variable, raising=False)


def _pool(target):
    return PoolExplanation(
        previous=None,
        required=target,
        target=target,
        bound_by=Bound.LOAD,
        correction_factor=1.0,
        expected_ms=None,
        observed_ms=None,
        target_ms=200.0,
        feasible=True,
    )


@pytest.fixture(scope="session")
def decision():
    """Make a decision of so many prefill and decode workers."""

    def make(prefill, decode, time=1_000_000.0):
        why = Explanation(reason="a test wants it", forecast=None, prefill=_pool(prefill), decode=_pool(decode))
        return Decision(time=time, action=Action.SCALE, prefill=prefill, decode=decode, explanation=why)

    return make


@pytest.fixture(scope="session")
def require_binary():
    """The path of a server's binary; without it a test is skipped, but fails where CI is to run everything."""

    def find(name):
        path = shutil.which(name)
        if path is None:
            message = f"no {name} binary on PATH; tests/install-servers.sh installs it"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


class EtcdServer:
    """A real etcd; it may be stopped and started again, on the same ports and with the same storage."""

    def __init__(self, binary, directory: Path, *, name="default", peers=None, options=(), scheme="http") -> None:
        self.name = name
        self.port = free_tcp_port()
        self.peer_url = f"http://127.0.0.1:{free_tcp_port()}"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._binary = binary
        self._directory = directory
        self._options = options
        self._peers = peers or {name: self}
        self._process = None

    def launch(self) -> None:
        """Start, without waiting until it serves."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._binary, f"--name={self.name}", f"--data-dir={self._directory / 'data'}"),
                    *(f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"),
                    *(f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}"),
                    f"--initial-cluster={','.join(f'{peer.name}={peer.peer_url}' for peer in self._peers.values())}",
                    *("--heartbeat-interval=50", "--election-timeout=500", "--log-level=error"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )

    def start(self) -> None:
        """Start, and wait until it serves."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Wait until it serves."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        pytest.fail(f"etcd did not start:\n{(self._directory / 'log').read_text(encoding='utf-8')}")

    def stop(self) -> None:
        """Kill it, as a machine that fails would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Lose everything that a stopped server kept."""
        shutil.rmtree(self._directory / "data")


@pytest.fixture(scope="session")
def etcd(tmp_path_factory, require_binary):
    """A real etcd for the whole session; every test takes a namespace of its own."""
    server = EtcdServer(require_binary("etcd"), tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def etcd_servers(tmp_path, require_binary):
    """Makes etcd servers of a test's own: ``etcd_servers()``; with ``members=3`` a cluster."""
    binary = require_binary("etcd")
    made = []

    def make(members=1, started=True, **options):
        peers = {}
        for number in range(members):
            name = f"member-{len(made)}-{number}"
            peers[name] = EtcdServer(binary, tmp_path / name, name=name, peers=peers, **options)
        made.extend(peers.values())
        for server in peers.values() if started else ():
            server.launch()
        for server in peers.values() if started else ():
            server.wait()
        return list(peers.values())

    yield make
    for server in made:
        server.stop()


@dataclass(frozen=True)
class Certificates:
    """An authority, a certificate of this machine by it, and one for a client."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    client_cert_file: Path
    client_key_file: Path

    @property
    def etcd_options(self):
        """What makes etcd serve over TLS, to clients with a certificate only."""
        return (
            *(f"--cert-file={self.cert_file}", f"--key-file={self.key_file}"),
            *(f"--trusted-ca-file={self.ca_file}", "--client-cert-auth"),
        )


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    """Certificates that only these tests trust."""
    import trustme

    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    made = Certificates(*(folder / f"{name}.pem" for name in ("ca", "cert", "key", "client-cert", "client-key")))
    authority.cert_pem.write_to_path(made.ca_file)
    for names, cert_file, key_file in (
        (("127.0.0.1", "localhost"), made.cert_file, made.key_file),
        (("client",), made.client_cert_file, made.client_key_file),
    ):
        issued = authority.issue_cert(*names)
        issued.private_key_pem.write_to_path(key_file)
        cert_file.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return made


@pytest.fixture(scope="session")
def kube_api_server(tmp_path_factory):
    """A real kube-apiserver for the whole session, of KUBEBUILDER_ASSETS; every test takes a namespace of its own."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        pytest.skip("no kube-apiserver: KUBEBUILDER_ASSETS is not set; setup-envtest makes a folder for it to name")
    if not (Path(assets) / "kube-apiserver").exists():
        pytest.fail(f"KUBEBUILDER_ASSETS is {assets}, where there is no kube-apiserver")
    from tests.kubernetes.server import KubeApiServer

    server = KubeApiServer(Path(assets), tmp_path_factory.mktemp("kube"))
    try:
        server.start()
        yield server
    finally:
        server.stop()
