"""The state of a virtual deployment in etcd, where planners and orchestrators on any machine follow it."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Mapping

from connectors.base import ConnectorError
from connectors.virtual.etcd.gateway import CompactedError, Entry, EtcdError, EtcdGateway, Event, LeaseNotFoundError
from connectors.virtual.etcd.keys import Keys
from connectors.virtual.state import VirtualState
from connectors.virtual.store import VirtualStore
from planner.log import get_logger

LEASE_TTL_S = 30
_WATCH_IDLE_S = 60.0
_FIRST_CONTACT_S = 3.0
_LONGEST_PAUSE_S = 5.0
_ATTEMPTS = 16

log = get_logger("planner.virtual.etcd")


class EtcdStore(VirtualStore):
    """What the stores of planner and orchestrator share: one watch, one lease, guarded transactions.

    The state is what the watch last brought. A change is made on a fresh read, and written only if none of the keys
    has changed meanwhile. What was written on the lease is written again when the lease was lost.

    Attributes:
        namespace: The deployment.
    """

    def __init__(self, gateway: EtcdGateway, namespace: str, *, lease_ttl_s: int = LEASE_TTL_S) -> None:
        """Prepare; nothing is connected before ``start``.

        Args:
            gateway: Speaks to etcd; closed with the store.
            namespace: The deployment.
            lease_ttl_s: How long keys outlive their writer, seconds.
        """
        self._gateway = gateway
        self.namespace = namespace
        self._keys = Keys(namespace)
        self._ttl_s = lease_ttl_s
        self._lease = 0
        self._mine: dict[str, str] = {}
        self._entries: dict[str, Entry] = {}
        self._revision = 0
        self._state = VirtualState()
        self._trouble: str | None = f"etcd ({gateway.endpoints}) was not reached yet"
        self._told = False
        self._known = False
        self._refusal: EtcdError | None = None
        self._changed = asyncio.Condition()
        self._writing = asyncio.Lock()
        self._lost = asyncio.Event()
        self._contact = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def state(self) -> VirtualState:
        """The state as it was last seen."""
        return self._state

    @property
    def trouble(self) -> str | None:
        """Why nothing is known yet; None once something was read."""
        return None if self._known else self._trouble

    async def start(self) -> None:
        """Connect. An etcd that does not answer ends nothing: it is tried again for ever.

        Raises:
            EtcdError: It answered, and refused.
        """
        if self._tasks:
            return
        self._refusal = None
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._keep())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_CONTACT_S):
                await self._contact.wait()
        await self._raise_refusal()
        self.warning = self._trouble

    async def _raise_refusal(self) -> None:
        if self._refusal is not None:
            await self.close()
            raise self._refusal

    async def close(self) -> None:
        """Let go of everything. Keys stay until their lease runs out, so that a restart goes unnoticed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._contact.clear()
        await self._gateway.close()

    async def changed(self, seen: VirtualState) -> VirtualState:
        """Return the state as soon as it is another one than ``seen``.

        Raises:
            EtcdError: etcd refuses to tell.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self._state != seen or self._refusal is not None)
            if self._refusal is not None:
                raise self._refusal
            return self._state

    async def check(self) -> str:
        """Whether etcd answers and lets the keys be read."""
        try:
            snapshot = await self._gateway.read(self._keys.first, self._keys.end)
            version = await self._gateway.version()
        finally:
            if not self._tasks:
                await self._gateway.close()
        number = self._keys.decision(snapshot.entries).decision_id
        standing = f"decision {number}" if number >= 0 else "no decision yet"
        return f"etcd {version} answers, {standing} in {self.namespace}"

    async def update(self, change: Callable[[VirtualState], VirtualState]) -> VirtualState:
        """Replace the state by what ``change`` makes of it, as one step; whatever ``change`` raises is passed on."""
        attempted: VirtualState | None = None
        async with self._writing:
            for _ in range(_ATTEMPTS):
                try:
                    await self._refresh_and_restore()
                    old = self._before_change()
                    if old == attempted:  # written after all, though the answer was lost
                        return old
                    new = change(old)
                    if new == old:
                        return new
                    attempted = new
                    if await self._write(self._puts(old, new, await self._leased())):
                        self._written(new)
                        await self._settle()
                        return new
                except LeaseNotFoundError:
                    self._lease = 0
        raise ConnectorError(f"etcd: {self.namespace} is changed by too many at once; nothing was written")

    @abstractmethod
    def _understand(self) -> VirtualState:
        """The state that the entries amount to."""

    @abstractmethod
    def _before_change(self) -> VirtualState:
        """The state that a change starts from, just read.

        Raises:
            ConnectorError: This store may not change it now.
        """

    @abstractmethod
    def _puts(self, old: VirtualState, new: VirtualState, lease: int) -> dict[str, tuple[str, int]]:
        """The values to write for a change, and the lease of each."""

    @abstractmethod
    def _missing(self, lease: int) -> dict[str, tuple[str, int]]:
        """The values that should be there but are not, to be written on a lease."""

    def _written(self, state: VirtualState) -> None:
        """Take in that a change has been written."""

    def _gone(self, lease: int) -> dict[str, tuple[str, int]]:
        """What this store wrote on a lease and nobody wrote over, and is not there any more."""
        return {key: (value, lease) for key, value in self._mine.items() if key not in self._entries}

    async def _leased(self) -> int:
        if not self._lease:
            self._lease = await self._gateway.grant(self._ttl_s)
        return self._lease

    async def _write(self, puts: Mapping[str, tuple[str, int]]) -> bool:
        """Write values if no key has changed since the last read."""
        expected = {key: self._entries[key].mod_revision if key in self._entries else 0 for key in self._keys.all}
        revision = await self._gateway.transact(expected, put=puts)
        if revision is None:
            return False
        self._entries |= {key: Entry(value, revision, lease) for key, (value, lease) in puts.items()}
        self._mine |= {key: value for key, (value, lease) in puts.items() if lease}
        self._revision = max(self._revision, revision)
        return True

    async def _refresh(self) -> None:
        """Read every key anew."""
        snapshot = await self._gateway.read(self._keys.first, self._keys.end)
        # A cluster restored from a backup counts revisions anew; whatever comes next counts from what is read here.
        self._revision = snapshot.revision
        self._entries = {key: entry for key, entry in snapshot.entries.items() if key in self._keys.all}
        self._known = True
        await self._settle()

    async def _refresh_and_restore(self) -> None:
        """Read every key anew, and write what should be there but is not."""
        await self._refresh()
        if self._missing(0):
            await self._write(self._missing(await self._leased()))
            await self._settle()

    async def _take_in(self, events: list[Event]) -> None:
        for event in events:
            if event.key not in self._keys.all or event.revision <= self._revision:
                continue
            if event.entry is None:
                self._entries.pop(event.key, None)
            else:
                self._entries[event.key] = event.entry
        self._revision = max(self._revision, *(event.revision for event in events))
        await self._settle()
        if self._missing(0):
            self._lost.set()

    async def _settle(self) -> None:
        """Work out the state, and wake who waits if it is another one."""
        for key in [key for key in self._mine if key in self._entries and self._entries[key].lease != self._lease]:
            del self._mine[key]
        state = self._understand()
        async with self._changed:
            if state != self._state:
                self._state = state
                self._changed.notify_all()

    async def _follow(self) -> None:
        """Read, then watch; again whenever the watch ends, whatever ends it."""
        pause_s = 0.1
        while True:
            try:
                async with self._writing:
                    await self._refresh_and_restore()
                self._reached()
                pause_s = 0.1
                async for events in self._gateway.watch(
                    self._keys.first, self._keys.end, self._revision + 1, idle_s=_WATCH_IDLE_S
                ):
                    async with self._writing:
                        await self._take_in(events)
            except CompactedError:
                continue
            except LeaseNotFoundError:
                self._lease = 0
            except Exception as error:  # noqa: BLE001 - the watch must outlive whatever a server sends
                await self._not_reached(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _reached(self) -> None:
        if self._told:
            log.info("etcd answers again", endpoints=self._gateway.endpoints)
        self._told = False
        self._trouble = self._refusal = None
        self._contact.set()

    async def _not_reached(self, error: Exception) -> None:
        why = str(error) or type(error).__name__
        if not self._told:
            log.warning("etcd is not followed for now; it is tried again", detail=why)
        self._told = True
        self._trouble = why
        if isinstance(error, EtcdError):
            async with self._changed:
                self._refusal = error
                self._changed.notify_all()
            self._contact.set()

    async def _keep(self) -> None:
        """Keep the lease alive, and write again what has gone with a lost one."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._ttl_s / 3):
                    await self._lost.wait()
            self._lost.clear()
            try:
                if self._lease:
                    await self._gateway.keep_alive(self._lease)
                async with self._writing:
                    if self._missing(0):
                        await self._refresh_and_restore()
            except LeaseNotFoundError:
                log.warning("etcd: the lease was lost; what was on it is written again", namespace=self.namespace)
                self._lease = 0
                self._lost.set()
            except Exception as error:  # noqa: BLE001 - the follower tells what is wrong with etcd
                log.debug("etcd: the lease is not kept alive for now", detail=str(error))
