"""A mock of a prefill or decode worker: a small HTTP server that takes as long as an engine would.

    python examples/local_workers/mock_worker.py --role decode --port 9101

`GET /health` answers 503 while it starts and 200 when it serves; `POST /generate` with {"isl": 3000, "osl": 150}
occupies it as the tokens would an engine, and answers how long that took. SIGTERM lets it finish what it has.
"""

import argparse
import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STARTUP_S = 1.0
PREFILL_TOKENS_PER_S = 40_000
ITL_S = 0.008
ITL_S_PER_SEQUENCE = 0.0003

ready_at = time.monotonic() + STARTUP_S
one_prompt_at_a_time = threading.Lock()
sequences: set[int] = set()


def prefill(isl: int) -> float:
    began = time.monotonic()
    with one_prompt_at_a_time:
        time.sleep(isl / PREFILL_TOKENS_PER_S)
    return time.monotonic() - began


def decode(osl: int) -> float:
    began = time.monotonic()
    sequences.add(threading.get_ident())
    time.sleep(osl * (ITL_S + ITL_S_PER_SEQUENCE * len(sequences)))
    sequences.discard(threading.get_ident())
    return time.monotonic() - began


class Handler(BaseHTTPRequestHandler):
    role = ""

    def do_GET(self) -> None:
        self.answer(200 if time.monotonic() >= ready_at else 503, {"role": self.role, "sequences": len(sequences)})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        took_s = prefill(request["isl"]) if self.role == "prefill" else decode(request["osl"])
        self.answer(200, {"took_s": took_s})

    def answer(self, status: int, body: object) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: object) -> None:
        """Workers are many; they keep quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for the requests that are being served
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hung up before the answer is no trouble of the worker."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=["prefill", "decode"], required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    Handler.role = options.role
    with Server(("127.0.0.1", options.port), Handler) as server:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator, which then ends its workers
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
