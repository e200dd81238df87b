"""A real kube-apiserver with an etcd of its own, as child processes on loopback; no controllers, no kubelet."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

ADMIN_TOKEN = "admin-of-a-test"
CRDS = Path(__file__).parent / "crds"
_READY_WITHIN_S = 90.0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class KubeApiServer:
    """One API server; it may be stopped and started again on the same port, with what it kept."""

    def __init__(self, assets: Path, directory: Path) -> None:
        """Take the binaries of KUBEBUILDER_ASSETS, and a folder for keys, data and logs."""
        self._assets = assets
        self._directory = directory
        self._etcd = self._server = None
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca_file = directory / "certs" / "apiserver.crt"
        self.kubectl_binary = str(assets / "kubectl")

    def start(self):
        """Start both, wait until requests are answered, and define our kinds."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._make_keys()
        etcd_port, peer_port = free_port(), free_port()
        etcd = shutil.which("etcd", path=str(self._assets)) or "etcd"
        self._etcd_url = f"http://127.0.0.1:{etcd_port}"
        self._etcd = self._run(
            "etcd",
            etcd,
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync",
            "--log-level=error",
        )
        self.resume()
        for file in sorted(CRDS.glob("*.yaml")):
            self.kubectl("apply", "-f", str(file))
        self.kubectl("wait", "--for=condition=established", "--timeout=60s", "crd", "--all")

    def resume(self):
        """Start the API server alone, and wait until it answers."""
        self._server = self._run(
            "kube-apiserver",
            str(self._assets / "kube-apiserver"),
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--insecure-port=0",
            f"--cert-dir={self._directory / 'certs'}",
            f"--token-auth-file={self._directory / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={self._directory / 'sa.key'}",
            f"--service-account-key-file={self._directory / 'sa.pub'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--profiling=false",
        )
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline and self._server.poll() is None:
            with contextlib.suppress(httpx.HTTPError, OSError):
                if self.request("GET", "/readyz").status_code == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"kube-apiserver did not become ready:\n{self._log('kube-apiserver')}")

    def kill(self):
        """End the API server at once; its etcd goes on."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    @contextlib.contextmanager
    def frozen(self):
        """The API server takes requests and answers none."""
        os.kill(self._server.pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self._server.pid, os.WSTOPPED | os.WNOWAIT)
            yield
        finally:
            os.kill(self._server.pid, signal.SIGCONT)

    def stop(self):
        """End both."""
        self.kill()
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd.wait()
            self._etcd = None

    def request(self, method, path, *, token=ADMIN_TOKEN, **options):
        """A request as the bearer of a token; the administrator's if left out."""
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(verify=ssl.create_default_context(cafile=self.ca_file), timeout=10) as client:
            return client.request(method, self.url + path, headers=headers, **options)

    def kubectl(self, *arguments, text=None, check=True):
        """Run kubectl as the administrator; its standard output."""
        shown = subprocess.run(
            [self.kubectl_binary, "--kubeconfig", str(self.kubeconfig()), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert not check or shown.returncode == 0, shown.stderr
        return shown.stdout

    def namespace(self, name):
        """Make a namespace, and the service account that a cluster would make in it."""
        self.request("POST", "/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
        return name

    def token_of(self, namespace, account, *, seconds=3600):
        """A token of a service account, as a pod would have it mounted."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.request("POST", path, json={"spec": {"expirationSeconds": seconds}})
        return answer.raise_for_status().json()["status"]["token"]

    def kubeconfig(self, *, token=ADMIN_TOKEN, namespace="default"):
        """A file with the address and a token, made if need be."""
        text = yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
                "users": [{"name": "test", "user": {"token": token}}],
                "clusters": [
                    {
                        "name": "test",
                        "cluster": {
                            "server": self.url,
                            "certificate-authority-data": base64.b64encode(self.ca_file.read_bytes()).decode(),
                        },
                    }
                ],
            }
        )
        file = self._directory / f"kubeconfig-{namespace}-{abs(hash(text))}"
        file.write_text(text)
        return file

    def _make_keys(self):
        (self._directory / "tokens.csv").write_text(f"{ADMIN_TOKEN},admin,admin,system:masters\n")
        key, public = self._directory / "sa.key", self._directory / "sa.pub"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        subprocess.run(
            ["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(public)], check=True, capture_output=True
        )

    def _run(self, name, *command):
        with (self._directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _log(self, name):
        return (self._directory / f"{name}.log").read_text(encoding="utf-8")[-5000:]
