"""One request on its way through a deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

_MS_PER_S = 1000.0


class TokenClock(Protocol):
    """What counts the tokens of the sequences of a decode worker."""

    def tokens_at(self, time_s: float, /) -> float:
        """What it shows at a time."""
        ...


@dataclass(slots=True, eq=False)
class Request:
    """One request; the pools write down in it how far it has come.

    Attributes:
        arrival_s: When it arrived.
        isl: Input sequence length, tokens.
        osl: Output sequence length, tokens.
        first_token_s: When its first token came; None before.
        decode_start_s: When a decode worker first took it; None before.
        completed_s: When its last token came; None before.
        generated_tokens: Output tokens it had when it last left a worker.
        worker: The decode worker it runs on.
        admission: Which admission to a decode worker is its latest.
        origin_tokens: What ``worker``'s token clock showed when this request had no token yet.
    """

    arrival_s: float
    isl: int
    osl: int
    first_token_s: float | None = None
    decode_start_s: float | None = None
    completed_s: float | None = None
    generated_tokens: float = 0.0
    worker: TokenClock | None = None
    admission: int = -1
    origin_tokens: float = 0.0

    @property
    def ttft_ms(self) -> float | None:
        """Time to first token with the wait before it, milliseconds; None before the first token."""
        return None if self.first_token_s is None else (self.first_token_s - self.arrival_s) * _MS_PER_S

    @property
    def itl_ms(self) -> float | None:
        """Mean inter-token latency, milliseconds; None before completion, and for an output of a single token."""
        if self.completed_s is None or self.first_token_s is None or self.osl == 1:
            return None
        return (self.completed_s - self.first_token_s) / (self.osl - 1) * _MS_PER_S

    @property
    def duration_s(self) -> float | None:
        """From arrival to the last token, seconds; None before completion."""
        return None if self.completed_s is None else self.completed_s - self.arrival_s


class RequestObserver(Protocol):
    """Is told of every request as it happens, in the order of virtual time."""

    def arrived(self, request: Request, /) -> None:
        """``request`` was submitted."""
        ...

    def first_token(self, request: Request, /) -> None:
        """``request`` has its first token."""
        ...

    def completed(self, request: Request, /) -> None:
        """``request`` has its last token; called once for each request, after ``first_token``."""
        ...


class Unobserved:
    """Ignores everything."""

    def arrived(self, request: Request) -> None:
        """Do nothing."""

    def first_token(self, request: Request) -> None:
        """Do nothing."""

    def completed(self, request: Request) -> None:
        """Do nothing."""
