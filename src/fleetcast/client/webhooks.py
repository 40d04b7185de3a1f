"""What people ask of control about who is told of what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fleetcast.client.pages import every
from fleetcast.http.session import Session
from fleetcast.model.limits import HTTP_TIMEOUT_S, PAGE_ITEMS, PAGE_ITEMS_MAX, WEBHOOK_SEND_S_MAX
from fleetcast.model.messages.webhooks import Webhook, WebhookPage, WebhookRemoved, WebhookSpec, WebhookTested
from fleetcast.model.webhook import WebhookName


class Webhooks:
    """Calls that take an admin's token. Errors are those of :class:`Session` and of each operation."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def put_webhook(self, spec: WebhookSpec) -> Webhook:
        """Create or change a webhook. Raises :class:`Invalid`, :class:`NotFound` for a service, :class:`Refused` when there are
        too many."""
        return await self._session.ask("PUT", f"/v1/webhooks/{spec.name}", spec, reply=Webhook)

    async def webhook_page(self, *, after: str = "", limit: int = PAGE_ITEMS) -> WebhookPage:
        """Webhooks by name; go on from ``next``."""
        return await self._session.ask("GET", "/v1/webhooks", params={"after": after, "limit": limit}, reply=WebhookPage)

    def webhooks(self) -> AsyncIterator[Webhook]:
        """All webhooks, by name."""
        return every(lambda after: self.webhook_page(after=after, limit=PAGE_ITEMS_MAX))

    async def webhook(self, name: WebhookName) -> Webhook:
        """One webhook. Raises :class:`NotFound`."""
        return await self._session.ask("GET", f"/v1/webhooks/{name}", reply=Webhook)

    async def remove_webhook(self, name: WebhookName) -> WebhookRemoved:
        """Tell it nothing more. Raises :class:`NotFound`."""
        return await self._session.ask("DELETE", f"/v1/webhooks/{name}", reply=WebhookRemoved)

    async def test_webhook(self, name: WebhookName) -> WebhookTested:
        """Make a delivery that says only that it is one. Raises :class:`NotFound`."""
        timeout_s = HTTP_TIMEOUT_S + WEBHOOK_SEND_S_MAX
        return await self._session.ask("POST", f"/v1/webhooks/{name}/test", reply=WebhookTested, timeout_s=timeout_s)
