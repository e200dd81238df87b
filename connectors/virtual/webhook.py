"""Pushes decisions to an orchestrator that would rather be called than call."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import random
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connectors.base import ConnectorError
from connectors.virtual.state import VirtualState
from connectors.virtual.store import VirtualStore
from planner.log import get_logger

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 10.0
_FIRST_PAUSE_S = 1.0
_LOOK_S = 5.0
_LONGEST_PAUSE_S = 300.0
_SECRET_PREFIX = "whsec_"  # noqa: S105

log = get_logger("planner.virtual.webhook")


class Webhook:
    """Posts every decision to an address, signed, until it is received or a newer one stands.

    Requests are those of the Standard Webhooks specification: headers ``webhook-id``, ``webhook-timestamp`` and
    ``webhook-signature``, the latter ``v1,`` and the base64 of HMAC-SHA256 over ``ID.TIMESTAMP.BODY``. An answer of
    2xx means received, not carried out: that is acknowledged as ever. A planner that stands by posts nothing.
    """

    def __init__(self, url: str, *, secret: str, store: VirtualStore, namespace: str) -> None:
        """Prepare; nothing is sent before ``start``.

        Args:
            url: Where to post.
            secret: What to sign with: ``whsec_`` and base64, or any text.
            store: Where the decisions are.
            namespace: The deployment, which the requests name.

        Raises:
            ValueError: The secret is none.
        """
        self._url = url
        self._key = signing_key(secret)
        self._store = store
        self._namespace = namespace
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Post what is outstanding, and from now on every decision."""
        self._task = asyncio.create_task(self._run(), name="virtual webhook")

    async def close(self) -> None:
        """Stop posting; may be called without ``start``."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        import httpx  # noqa: PLC0415 - without a webhook nobody needs it

        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as http:
            state, received = self._store.state, -1
            while True:
                new = not state.acknowledged and state.decision.decision_id != received
                if new and self._store.standby is None:
                    await self._deliver(http, state)
                    received = state.decision.decision_id
                    state = self._store.state
                    continue
                state = await self._changed(state)

    async def _deliver(self, http: httpx.AsyncClient, state: VirtualState) -> None:
        """Post a decision until it is received, or no longer the newest, or acknowledged anyway."""
        pause_s = _FIRST_PAUSE_S
        failures = 0
        while _stands(state, self._store.state):
            failure, asked_pause_s = await self._post(http, state)
            if failure is None:
                if failures:
                    log.info("webhook received", decision_id=state.decision.decision_id, attempts=failures + 1)
                return
            failures += 1
            if failures == 1:
                log.warning("webhook not received; it is tried again", url=_shown(self._url), detail=failure)
            # Half of the pause is left to chance, so that several planners do not call at once.
            chance = 0.5 + random.random() / 2  # noqa: S311
            await self._pause(state, max(pause_s * chance, min(asked_pause_s, _LONGEST_PAUSE_S)))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _pause(self, state: VirtualState, seconds: float) -> None:
        """Wait, but not for the sake of a decision that is overtaken meanwhile."""

        async def overtaken() -> None:
            now = self._store.state
            while _stands(state, now):
                now = await self._changed(now)

        try:
            await asyncio.wait_for(overtaken(), seconds)
        except TimeoutError:
            return

    async def _changed(self, state: VirtualState) -> VirtualState:
        """The next state; or the same after a while, as whether this planner leads may have changed."""
        try:
            return await asyncio.wait_for(self._store.changed(state), _LOOK_S)
        except TimeoutError:
            return self._store.state
        except ConnectorError:
            await asyncio.sleep(_FIRST_PAUSE_S)
            return self._store.state

    async def _post(self, http: httpx.AsyncClient, state: VirtualState) -> tuple[str | None, float]:
        """Post once; what went wrong, and the pause asked for, in seconds."""
        import httpx  # noqa: PLC0415

        body = self._body(state)
        identity = f"{self._namespace}.{state.decision.decision_id}.{state.decided_at or 0:.0f}"
        headers = {"Content-Type": "application/json", **sign(self._key, identity, int(time.time()), body)}
        try:
            response = await http.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}".rstrip(": "), 0.0
        if response.is_success:
            return None, 0.0
        asked = response.headers.get("Retry-After", "")
        return f"HTTP {response.status_code}", float(asked) if asked.isdecimal() else 0.0

    def _body(self, state: VirtualState) -> bytes:
        data = {**asdict(state.decision), "scaled_decision_id": state.scaled_decision_id, "namespace": self._namespace}
        decided_at = datetime.fromtimestamp(state.decided_at or 0, UTC).isoformat(timespec="seconds")
        document = {"type": "decision.made", "timestamp": decided_at.replace("+00:00", "Z"), "data": data}
        return json.dumps(document).encode()


def signing_key(secret: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        ValueError: The secret is empty, or begins with ``whsec_`` and does not go on in base64.
    """
    if not secret.startswith(_SECRET_PREFIX):
        key = secret.encode()
    else:
        try:
            key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError(f"the webhook's secret begins with {_SECRET_PREFIX} but is no base64: {error}") from None
    if not key:
        raise ValueError("the webhook's secret is empty")
    return key


def sign(key: bytes, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove where a request comes from, and when it was sent."""
    signed = b".".join((identity.encode(), str(timestamp).encode(), body))
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": identity, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}


def _stands(state: VirtualState, now: VirtualState) -> bool:
    return now.decision == state.decision and not now.acknowledged


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{':' + str(parts.port) if parts.port else ''}{parts.path}"
