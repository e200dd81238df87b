"""Prompts of a wanted length that no prefix cache has seen."""

from __future__ import annotations

import random

from profiles.making.client import EngineClient
from profiles.making.endpoint import EndpointError

# Common words: most tokenizers have a token of its own for each.
_WORDS = (  # noqa: SIM905 - a list of words reads better without quotes
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service friend "
    "father power hour game line end member law car city community name president team minute idea body information "
    "back parent face others level office door health person art war history party result change morning reason "
    "research girl guy moment air teacher force education"
).split()

_SHORT, _LONG = 64, 512
_TOLERANCE = 0.25


class Prompts:
    """Makes prompts; how many tokens a word has is learnt from the server's own counts."""

    def __init__(self, seed: str | None = None) -> None:
        """Make a source of prompts.

        Args:
            seed: Makes the same prompts again; left out, they are new in every run, so that no cache knows them.
        """
        self._random = random.Random(seed)  # noqa: S311 - nothing is kept secret
        self._overhead, self._per_word = 0.0, 1.0

    async def calibrate(self, client: EngineClient) -> None:
        """Learn how many tokens words have with a server.

        Raises:
            EndpointError: Its answers cannot be measured, or its counts of prompt tokens do not follow the prompt.
        """
        short = (await client.probe(self._words(_SHORT))).prompt_tokens
        long = (await client.ask(self._words(_LONG), 4)).prompt_tokens
        per_word = (long - short) / (_LONG - _SHORT)
        if not 0.2 < per_word < 20:
            raise EndpointError(
                f"usage counts {short} tokens for a prompt of {_SHORT} words and {long} for one of {_LONG}: "
                "the server's counts cannot be used"
            )
        self._per_word = per_word
        self._overhead = short - per_word * _SHORT

    def of(self, tokens: int) -> str:
        """A new prompt of about so many tokens.

        Raises:
            EndpointError: It would be shorter than what the server adds to every prompt.
        """
        words = round((tokens - self._overhead) / self._per_word)
        if words < 1:
            raise EndpointError(f"the server makes {self._overhead:.0f} tokens of an empty prompt; {tokens} is too few")
        return self._words(words)

    @staticmethod
    def check(wanted: int, counted: int) -> None:
        """See that a prompt has about the tokens it was made to have.

        Raises:
            EndpointError: It has not.
        """
        if abs(counted - wanted) > max(16, _TOLERANCE * wanted):
            raise EndpointError(f"usage counts {counted} tokens for a prompt of about {wanted}: the counts are wrong")

    def _words(self, number: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=number))
