"""Clients: one for each account that the gateway spends from, all sharing ledger, store and connections.

A caller's own token lives here, in memory, and nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict

from hfmedia.client import MediaClient
from hfmedia.core.credentials import Secret
from hfmedia.core.errors import MissingAuthError
from hfmedia.server.db.generations import Generation

MAX_ACCOUNTS = 256  # accounts remembered; an idle one costs a few kB


class AccountClients:
    """The client of each account. ``base`` is the operator's."""

    def __init__(self, base: MediaClient) -> None:
        self.base = base
        self._clients: OrderedDict[tuple[str, str | None], MediaClient] = OrderedDict()
        self._tokens: OrderedDict[str, Secret] = OrderedDict()

    def register(self, caller_id: str, token: Secret | None) -> bool:
        """Remembers the own token of a caller who is here, for jobs that go on when the caller is gone.

        True when it was not known: whatever waited for it can go on now.
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
        """Whether the account of an order can be used now."""
        return not generation.uses_caller_token or generation.caller_id in self._tokens

    def get(self, caller_id: str, bill_to: str | None, *, uses_caller_token: bool) -> MediaClient:
        """The client that spends from an account; MissingAuthError when its own token is not known here any more."""
        if not uses_caller_token and bill_to is None:
            return self.base
        token = self._tokens.get(caller_id)
        if uses_caller_token and token is None:
            raise MissingAuthError("the job was begun with its caller's own token, which is kept nowhere; come again")
        account = (caller_id if uses_caller_token else "", bill_to)
        client = self._clients.get(account)
        if client is None:
            secret = token.reveal() if uses_caller_token and token else None
            client = self._clients[account] = self.base.for_account(token=secret, bill_to=bill_to)
        self._clients.move_to_end(account)
        while len(self._clients) > MAX_ACCOUNTS:
            self._clients.popitem(last=False)
        return client

    def for_generation(self, generation: Generation) -> MediaClient:
        """The client that spends for an order."""
        return self.get(generation.caller_id, generation.bill_to, uses_caller_token=generation.uses_caller_token)

    async def aclose(self) -> None:
        """Ends what the clients of other accounts still carry; the operator's is closed by whoever made it."""
        for client in self._clients.values():
            await client.aclose()
