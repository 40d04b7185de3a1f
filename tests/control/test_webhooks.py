"""Webhooks, told to receivers on this machine that write down what they hear."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select, update

from fleetcast.control.webhooks import outbox, registry
from fleetcast.control.webhooks.sending import Couriers
from fleetcast.http.tokens import Role
from fleetcast.model.errors import Invalid, NotFound, Refused, Unprocessable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import WEBHOOK_TOLD_S_MAX, WEBHOOK_WAITING_MAX, WEBHOOKS_MAX
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.messages.webhooks import Webhook, WebhookSpec
from fleetcast.model.webhook import WebhookForm, WebhookName
from fleetcast.rollouts.services import put_service
from fleetcast.schema.events import record_event
from fleetcast.schema.webhook_tables import webhook_deliveries, webhooks
from fleetcast.stores.database import Database
from recorder import Heard, Recorder, listening

WEB, API = ServiceName("web"), ServiceName("api")
CI = WebhookName("ci")
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SOON_S = 30.0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with listening() as recorder:
        yield recorder


@dataclass
class Place:
    """A database in which things happen, and who tells of them."""

    database: Database

    async def add(self, url: str, name: str = CI, **more: Any) -> Webhook:
        spec = WebhookSpec(WebhookName(name), url, **{"secret": SECRET, **more})
        async with self.database.transaction() as tx:
            return await registry.put_webhook(tx, spec)

    async def happened(self, *texts: str, service: str = WEB, kind: EventKind = EventKind.DEPLOYMENT_WAVE) -> None:
        for text in texts:
            async with self.database.transaction() as tx:
                record_event(tx, kind, "d1", service=service, state="DISTRIBUTING", text=text)

    async def tell(self, name: str = CI) -> None:
        await outbox.gather(self.database)
        await Couriers(self.database, Random(1)).turn(name)

    async def tell_again(self, name: str = CI) -> None:
        """As when the next attempts are due."""
        async with self.database.transaction() as tx:
            await tx.execute(update(webhooks).values(again_at=None))
            await tx.execute(update(webhook_deliveries).where(webhook_deliveries.c.send_at.is_not(None)).values(send_at=0))
        await self.tell(name)

    async def shown(self, name: str = CI) -> Webhook:
        async with self.database.reading() as reading:
            return await registry.get_webhook(reading, WebhookName(name))

    async def alarms(self) -> list[str]:
        async with self.database.reading() as reading:
            return list(await registry.undelivered(reading))


@contextlib.asynccontextmanager
async def _place(url: str) -> AsyncIterator[Place]:
    database = await Database.open(url)
    async with database.transaction() as tx:
        for service in (WEB, API):
            await put_service(tx, ServiceSpec(service, "/srv/web.git"))
    yield Place(database)
    await database.close()


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    async with _place(database_url) as place:
        yield place


def texts(recorder: Recorder) -> list[str]:
    """Of the events that were heard of, in order."""
    return [json.loads(one.body)["data"]["text"] for one in recorder.heard]


async def test_an_event_is_told_signed_as_standard_webhooks_have_it(place: Place, recorder: Recorder) -> None:
    await place.add(recorder.url + "/hook?of=us")
    await place.happened("wave 1 of 3")
    await place.tell()
    (heard,) = recorder.heard
    signed = f"{heard.headers['webhook-id']}.{heard.headers['webhook-timestamp']}.".encode() + heard.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert (heard.path, heard.headers["webhook-signature"]) == ("/hook?of=us", f"v1,{wanted}")
    said = json.loads(heard.body)
    assert (said["type"], said["data"]["service"], said["data"]["text"]) == ("deployment.wave", "web", "wave 1 of 3")
    assert said["timestamp"].endswith("Z")
    shown = await place.shown()
    assert (shown.waiting, shown.given_up, shown.last and shown.last.status) == (0, 0, 201)


async def test_what_a_webhook_does_not_ask_for_it_is_not_told(place: Place, recorder: Recorder) -> None:
    await place.happened("before it was there")
    await place.add(recorder.url, events=("deployment.wave", "build.*"), services=(API,))
    await place.happened("of another service")
    await place.happened("of another kind", service=API, kind=EventKind.DEPLOYMENT_ENDED)
    await place.happened("wanted", service=API)
    await place.happened("this too", service=API, kind=EventKind.SERVICE_PUT)
    await place.tell()
    assert texts(recorder) == ["wanted"]


async def test_deliveries_come_in_the_order_of_events(place: Place, recorder: Recorder) -> None:
    await place.add(recorder.url)
    said = [str(number) for number in range(12)]
    await place.happened(*said)
    await place.tell()
    assert texts(recorder) == said


async def test_a_receiver_that_is_away_is_told_when_it_is_back_the_same_to_the_byte(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda _heard: (503, b"<html>maintenance</html>")
    await place.add(recorder.url)
    await place.happened("one", "two")
    await place.tell()
    assert texts(recorder) == ["one"], "what comes later is not sent into the void"
    assert await place.alarms() == ["2 deliveries wait for webhook ci: it answered HTTP 503"]
    shown = await place.shown()
    assert (shown.failures, shown.waiting, shown.last and shown.last.error) == (1, 2, "it answered HTTP 503")
    recorder.answer = Recorder("").answer
    await place.tell_again()
    assert texts(recorder) == ["one", "one", "two"]
    first, again, _ = recorder.heard
    assert (first.headers["webhook-id"], first.body) == (again.headers["webhook-id"], again.body)
    assert await place.alarms() == []


async def test_what_one_delivery_is_refused_for_holds_up_no_other(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda heard: (422, b"no such thing") if b"poison" in heard.body else (200, b"ok")
    await place.add(recorder.url)
    await place.happened("poison", "two")
    await place.tell()
    await place.tell_again()
    assert texts(recorder) == ["poison", "two"]
    shown = await place.shown()
    assert (shown.given_up, shown.waiting, shown.last and shown.last.delivered) == (1, 0, True)


async def test_what_fails_again_and_again_lets_others_pass_and_is_given_up_after_a_day(
    place: Place, recorder: Recorder
) -> None:
    recorder.answer = lambda heard: (500, b"") if b"poison" in heard.body else (200, b"ok")
    await place.add(recorder.url)
    await place.happened("poison", "two")
    await place.tell()
    async with place.database.transaction() as tx:
        await tx.execute(update(webhooks).values(again_at=None))
    await place.tell()
    assert texts(recorder) == ["poison", "two"]
    async with place.database.transaction() as tx:
        await tx.execute(
            update(webhook_deliveries).values(created_at=webhook_deliveries.c.created_at - WEBHOOK_TOLD_S_MAX * 1000 - 1)
        )
    await place.tell_again()
    await place.tell_again()
    assert texts(recorder) == ["poison", "two", "poison"]
    assert ((await place.shown()).given_up, await place.alarms()) == (1, [])


async def test_a_receiver_that_asks_for_time_is_given_it(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda _heard: (429, b"ratelimited")
    recorder.headers = {"retry-after": "300"}
    await place.add(recorder.url)
    await place.happened("one")
    await place.tell()
    async with place.database.reading() as reading:
        row = (await reading.execute(select(webhook_deliveries))).one()
    assert row.send_at - row.created_at >= 300_000


async def test_a_receiver_that_hangs_or_is_not_there_delays_no_other(place: Place, recorder: Recorder) -> None:
    asked, go_on, stop = threading.Event(), threading.Event(), asyncio.Event()

    def hang(_heard: Heard) -> tuple[int, bytes]:
        asked.set()
        go_on.wait(SOON_S)
        return 200, b""

    with listening() as slow:
        slow.answer = hang
        await place.add(slow.url, "a-slow")
        await place.add("http://127.0.0.1:1/", "b-dead")
        await place.add(recorder.url)
        couriers = asyncio.create_task(Couriers(place.database).run(stop, 0.02))
        await place.happened("one")
        await outbox.gather(place.database)
        assert await asyncio.to_thread(asked.wait, SOON_S)
        await place.happened("two", "three")
        await outbox.gather(place.database)
        async with asyncio.timeout(SOON_S):
            while texts(recorder) != ["one", "two", "three"] or not await place.alarms():  # noqa: ASYNC110 -- of other threads
                await asyncio.sleep(0.01)
        assert texts(slow) == ["one"]
        go_on.set()
        stop.set()
        await couriers
    assert "webhook b-dead" in (await place.alarms())[0]


async def test_slack_is_told_in_a_line_of_which_nothing_is_markup(place: Place, recorder: Recorder) -> None:
    added = await place.add(recorder.url + "/services/T0/B0/s3cr3t", form=WebhookForm.SLACK, secret=None)
    await place.happened("<!channel> & a\nline")
    await place.tell()
    (heard,) = recorder.heard
    assert json.loads(heard.body) == {"text": "web: deployment d1 wave DISTRIBUTING: &lt;!channel&gt; &amp; a line"}
    assert "webhook-signature" not in heard.headers
    assert (added.url, added.signed) == (f"{recorder.url}/...", False)


@pytest.mark.one_engine
async def test_secrets_are_shown_nowhere(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    spec = WebhookSpec(CI, "http://127.0.0.1:1/a?key=s3cr3t", secret=SECRET)
    async with place.database.transaction() as tx:
        shown = await registry.put_webhook(tx, spec)
    await place.happened("one")
    await outbox.gather(place.database)
    claimed = await outbox.claim(place.database, CI)
    await Couriers(place.database).turn(CI)
    async with place.database.transaction() as tx:
        await tx.execute(update(webhook_deliveries).values(claim_expires_at=0))
    await Couriers(place.database).turn(CI)
    said = "".join(map(str, (spec, shown, claimed, await place.shown(), await place.alarms(), capfd.readouterr())))
    assert "webhook_not_delivered" in said
    assert "s3cr3t" not in said
    assert SECRET not in said


async def test_two_control_processes_make_each_delivery_once_and_in_order(
    place: Place, recorder: Recorder, database_url: str
) -> None:
    said = [str(number) for number in range(8)]
    other = Place(await Database.open(database_url))
    await place.add(recorder.url)
    await place.happened(*said)
    await asyncio.gather(place.tell(), other.tell())
    await asyncio.gather(place.tell(), other.tell())
    await other.database.close()
    assert texts(recorder) == said


async def test_one_that_died_is_followed_by_another_and_not_believed_later(place: Place, recorder: Recorder) -> None:
    await place.add(recorder.url)
    await place.happened("one", "two")
    await outbox.gather(place.database)
    dead = await outbox.claim(place.database, CI)
    assert dead is not None
    await place.tell()
    assert recorder.heard == []
    async with place.database.transaction() as tx:
        await tx.execute(update(webhook_deliveries).values(claim_expires_at=1))
    await place.tell()
    await outbox.not_delivered(place.database, dead, None, "too late to be believed", 1)
    assert (texts(recorder), await place.alarms()) == (["one", "two"], [])


@pytest.mark.one_engine
async def test_what_waits_is_bounded(place: Place) -> None:
    await place.add("http://127.0.0.1:1/")
    async with place.database.transaction() as tx:
        row = {"webhook": CI, "kind": "build.ended", "body": "{}", "created_at": 1, "send_at": 1}
        rows = [{**row, "message": f"m{number}", "event_id": number} for number in range(WEBHOOK_WAITING_MAX + 3)]
        await tx.execute(webhook_deliveries.insert(), rows)
    async with place.database.transaction() as tx:
        await outbox.forget_webhook_deliveries(tx)
        kept = select(func.min(webhook_deliveries.c.event_id)).where(webhook_deliveries.c.send_at.is_not(None))
        assert (await tx.execute(kept)).scalar_one() == 3
    shown = await place.shown()
    assert (shown.waiting, shown.given_up) == (WEBHOOK_WAITING_MAX, 3)
    async with place.database.transaction() as tx:
        await tx.execute(update(webhook_deliveries).values(ended_at=1))
        await outbox.forget_webhook_deliveries(tx)
    assert (await place.shown()).given_up == 0


@pytest.mark.one_engine
async def test_what_cannot_be_told_anything_is_refused(place: Place) -> None:
    for wrong in ("ftp://x/", "http://user:pass@x/", "http://x/#there", "http:///a", "x", "http://x/a b", "http://x/\n"):
        with pytest.raises(Invalid, match=r"write http\(s\)://HOST/PATH"):
            await place.add(wrong)
    with pytest.raises(Invalid, match="no events 'deploy'"):
        await place.add("http://x/", events=("deploy",))
    with pytest.raises(Invalid, match="whsec_"):
        await place.add("http://x/", secret="short")
    with pytest.raises(Unprocessable, match="give it a secret"):
        await place.add("http://x/", secret=None)
    with pytest.raises(NotFound, match="did you mean 'web'"):
        await place.add("http://x/", services=("webb",))
    for number in range(WEBHOOKS_MAX):
        await place.add("http://x/", f"w{number}")
    with pytest.raises(Refused, match="remove one"):
        await place.add("http://x/", "one-more")
    await place.add("http://y/", "w0")


async def test_a_running_control_process_tells_and_tests(control: Any, recorder: Recorder) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        added = await admin.put_webhook(WebhookSpec(CI, recorder.url, events=("service.*",), secret=SECRET))
        assert (added.last, [one.name async for one in admin.webhooks()]) == (None, [CI])
        tested = await admin.test_webhook(CI)
        assert (tested.outcome.delivered, json.loads(recorder.heard[0].body)["type"]) == (True, "webhook.test")
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git"))
        async with asyncio.timeout(SOON_S):
            while (await admin.webhook(CI)).waiting or len(recorder.heard) < 2:  # noqa: ASYNC110 -- of control's loops
                await asyncio.sleep(0.02)
        assert texts(recorder)[1:] == ["created"]
        recorder.answer = lambda _heard: (403, b"who are you?")
        tested = await admin.test_webhook(CI)
        assert (tested.outcome.delivered, tested.outcome.error) == (False, "it answered HTTP 403 and who are you?")
        assert (await admin.remove_webhook(CI)).dropped == 0
        with pytest.raises(NotFound, match="webhook list"):
            await admin.webhook(CI)
