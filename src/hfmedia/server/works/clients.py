"""Clients: one for each account that the gateway spends from, all sharing ledger, store and connections.

A caller's own token lives here, in memory, and nowhere else.
"""

from __future__ import annotations

from collections import OrderedDict

from hfmedia.client import MediaClient
from hfmedia.core.errors import MissingAuthError
from hfmedia.core.wire import Secret
from hfmedia.server.books.orders import Order

MOST_ACCOUNTS = 256  # accounts remembered; an idle one costs a few kB


class Clients:
    """The client of each account. ``base`` is the operator's."""

    def __init__(self, base: MediaClient) -> None:
        self.base = base
        self._made: OrderedDict[tuple[str, str | None], MediaClient] = OrderedDict()
        self._tokens: OrderedDict[str, Secret] = OrderedDict()

    def meet(self, key: str, token: Secret | None) -> bool:
        """Remembers the own token of a caller who is here, for jobs that go on when the caller is gone.

        True when it was not known: whatever waited for it can go on now.
        """
        if token is None:
            return False
        new = key not in self._tokens
        self._tokens[key] = token
        self._tokens.move_to_end(key)
        while len(self._tokens) > MOST_ACCOUNTS:
            self._tokens.popitem(last=False)
        return new

    def knows(self, order: Order) -> bool:
        """Whether the account of an order can be used now."""
        return not order.own_token or order.key in self._tokens

    def of(self, key: str, bill_to: str | None, *, own_token: bool) -> MediaClient:
        """The client that spends from an account; MissingAuthError when its own token is not known here any more."""
        if not own_token and bill_to is None:
            return self.base
        token = self._tokens.get(key)
        if own_token and token is None:
            raise MissingAuthError("the job was begun with its caller's own token, which is kept nowhere; come again")
        name = (key if own_token else "", bill_to)
        made = self._made.get(name)
        if made is None:
            secret = token.reveal() if own_token and token else None
            made = self._made[name] = self.base.on_behalf(token=secret, bill_to=bill_to)
        self._made.move_to_end(name)
        while len(self._made) > MOST_ACCOUNTS:
            self._made.popitem(last=False)
        return made

    def of_order(self, order: Order) -> MediaClient:
        """The client that spends for an order."""
        return self.of(order.key, order.bill_to, own_token=order.own_token)

    async def aclose(self) -> None:
        """Ends what the clients of other accounts still carry; the operator's is closed by whoever made it."""
        for client in self._made.values():
            await client.aclose()
