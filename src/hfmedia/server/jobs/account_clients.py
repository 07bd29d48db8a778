"""Media clients by account: one per account that the gateway spends from, sharing ledger, storage and connections.

A caller's own token is held here, in memory, and stored nowhere.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from hfmedia.client import MediaClient
from hfmedia.core.credentials import Secret
from hfmedia.core.errors import MissingAuthError
from hfmedia.server.db.api_keys import KeyLimits
from hfmedia.server.db.generations import Generation

MAX_ACCOUNTS = 256  # accounts remembered; an idle one takes a few kB


class CallerAccount(Protocol):
    """A caller as the service sees it: identity, limits and billing account. ``auth.caller.Caller`` is one."""

    @property
    def id(self) -> str:
        """ID of the API key; empty on a gateway without keys; ``hf:…`` for a caller whose own token pays."""
        ...

    @property
    def name(self) -> str:
        """The operator's name for the key."""
        ...

    @property
    def limits(self) -> KeyLimits:
        """Limits of the key."""
        ...

    @property
    def bill_to(self) -> str | None:
        """Organization to bill."""
        ...

    @property
    def admin(self) -> bool:
        """True if it can see the jobs of all callers."""
        ...

    @property
    def hf_token(self) -> Secret | None:
        """The caller's own Hugging Face token."""
        ...


class AccountClients:
    """The client of each account. ``base`` is the operator's."""

    def __init__(self, base: MediaClient) -> None:
        self.base = base
        self._clients: OrderedDict[tuple[str, str | None], MediaClient] = OrderedDict()
        self._tokens: OrderedDict[str, Secret] = OrderedDict()

    def register(self, caller_id: str, token: Secret | None) -> bool:
        """Remember a caller's own token for jobs that outlive the caller's connection.

        Returns True if it was unknown: generations that were waiting for it can resume now.
        """
        if token is None:
            return False
        is_new = caller_id not in self._tokens
        self._tokens[caller_id] = token
        self._tokens.move_to_end(caller_id)
        while len(self._tokens) > MAX_ACCOUNTS:
            self._tokens.popitem(last=False)
        return is_new

    def is_available(self, generation: Generation) -> bool:
        """Return True if the account of a generation can be used now."""
        return not generation.uses_caller_token or generation.caller_id in self._tokens

    def get(self, caller_id: str, bill_to: str | None, *, uses_caller_token: bool) -> MediaClient:
        """Return the client of an account; raise MissingAuthError if its caller's own token is not known here."""
        if not uses_caller_token and bill_to is None:
            return self.base
        token = self._tokens.get(caller_id)
        if uses_caller_token and token is None:
            raise MissingAuthError(
                "this job uses its caller's token, which the gateway does not store; retry with the token"
            )
        account = (caller_id if uses_caller_token else "", bill_to)
        client = self._clients.get(account)
        if client is None:
            secret = token.reveal() if uses_caller_token and token else None
            client = self._clients[account] = self.base.for_account(token=secret, bill_to=bill_to)
        self._clients.move_to_end(account)
        while len(self._clients) > MAX_ACCOUNTS:
            self._clients.popitem(last=False)
        return client

    def for_caller(self, account: CallerAccount) -> MediaClient:
        """Return the client that spends for a caller."""
        return self.get(account.id, account.bill_to, uses_caller_token=account.hf_token is not None)

    def for_generation(self, generation: Generation) -> MediaClient:
        """Return the client that spends for a generation."""
        return self.get(generation.caller_id, generation.bill_to, uses_caller_token=generation.uses_caller_token)

    async def aclose(self) -> None:
        """Close the clients of all accounts except the operator's, which the gateway closes."""
        for client in self._clients.values():
            await client.aclose()
