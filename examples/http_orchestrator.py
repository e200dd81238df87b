"""Virtual mode from plain Python: the standard library, HTTP, and nothing of the planner's.

    python examples/http_orchestrator.py --planner http://127.0.0.1:9086 \
        --prefill 'python examples/local_workers/mock_worker.py --role prefill --port {port}' \
        --decode 'python examples/local_workers/mock_worker.py --role decode --port {port}'

Keeps as many processes of each command running as the planner decides. A process that ends is started again.
The same few requests make an orchestrator in any language; docs/virtual-mode.md shows them as curl commands.
"""

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from itertools import count

PORTS = count(9100)
LOOK_EVERY_S = 5


class Pool:
    """The processes of one command."""

    def __init__(self, name: str, command: str) -> None:
        self.name = name
        self.command = command
        self.target = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    def resize(self) -> None:
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < self.target:
            command = self.command.replace("{port}", str(next(PORTS)))
            self.processes.append(subprocess.Popen(shlex.split(command)))
            print(f"{self.name}: started {command!r}", flush=True)
        while len(self.processes) > self.target:
            process = self.processes.pop()
            process.terminate()
            process.wait()
            print(f"{self.name}: stopped one, {len(self.processes)} left", flush=True)


def call(planner: str, token: str | None, method: str, path: str, body: object = None) -> dict | None:
    """The answer to a request; None for one without a body. Waits until the planner can be reached."""
    request = urllib.request.Request(planner + path, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    while True:
        try:
            with urllib.request.urlopen(request, timeout=90) as response:
                return None if response.status == 204 else json.load(response)
        except urllib.error.HTTPError as error:
            if error.code == 404 and path.endswith("/complete"):
                # It has lost its state, and knows nothing of what it decided before: it will decide anew.
                print(f"{planner}{path}: {error.read().decode()}", file=sys.stderr, flush=True)
                return None
            if error.code not in (429, 503):
                raise SystemExit(f"the planner refused {path}: {error.read().decode()}") from error
        except OSError as error:
            print(f"{planner}: {error}; trying again", file=sys.stderr, flush=True)
        time.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planner", default="http://127.0.0.1:9086", help="where it listens")
    parser.add_argument("--token", help="the bearer token, if it wants one")
    parser.add_argument("--prefill", required=True, help="command of a prefill worker; {port} becomes a port")
    parser.add_argument("--decode", required=True, help="command of a decode worker")
    options = parser.parse_args()
    pools = {"prefill": Pool("prefill", options.prefill), "decode": Pool("decode", options.decode)}
    # SIGTERM ends it as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            wait = f"/api/v1/decision/wait?timeout={LOOK_EVERY_S}"
            decision = call(options.planner, options.token, "GET", wait)
            if decision is not None:
                pools["prefill"].target = decision["num_prefill_workers"]
                pools["decode"].target = decision["num_decode_workers"]
            for pool in pools.values():
                pool.resize()
            running = {name: {"ready": len(pool.processes)} for name, pool in pools.items()}
            call(options.planner, options.token, "PUT", "/api/v1/workers", running)
            if decision is not None:
                call(options.planner, options.token, "POST", f"/api/v1/decision/{decision['decision_id']}/complete")
    except KeyboardInterrupt:
        pass
    finally:
        for pool in pools.values():
            pool.target = 0
            pool.resize()


if __name__ == "__main__":
    main()
