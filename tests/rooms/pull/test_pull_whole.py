"""The running gateway: a repository subscribes, is told what was published, also after a kill; an operator sees it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from pull_endpoint import Endpoint, topical
from pull_house import ROOT

from gateway.commands.demo_inputs import GOOD, registry
from gateway.commands.site import Plan, Site
from gateway.formats import json

_ENTRY = '[[pull.repository]]\nsender = "evaluator-1"\n'


def allow(site: Site, endpoint: Endpoint) -> None:
    """The endpoint, in the settings of the repository."""
    entry = _ENTRY + 'scopes = ["system/*.rs", "system/Subscription.cruds"]\n[[pull.repository.endpoint]]\n'
    entry += f'url = "{endpoint.url}"\npeer = "subscriber"\nprivate = true\n'
    peer = f'[peer.subscriber]\norigin = "{endpoint.peer.origin}"\nplaintext = true\n'
    text = site.config.read_text(encoding="utf-8")
    assert _ENTRY in text
    text = text.replace(_ENTRY, entry + peer).replace('id = "cup-1"\n', 'id = "cup-1"\nrole = "operator"\n')
    site.config.write_text(text, encoding="utf-8")


async def posted(site: Site, path: str, value: dict) -> dict:
    async with httpx.AsyncClient(verify=site.client_tls("evaluator-1")) as client:
        answer = await client.post(f"https://127.0.0.1:{site.http_port}{path}", json=value)
    assert answer.status_code == 201, answer.text
    found: dict = answer.json()
    return found


async def until(what: Callable[[], bool | Awaitable[bool]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while True:
            found = what()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.05)


async def test_what_is_published_is_told_also_after_a_kill(tmp_path: Path) -> None:
    """Each version once and in order, whatever happened to the gateway and to the endpoint in between."""
    async with Endpoint() as endpoint, Site(tmp_path, Plan(home=ROOT, workers=1)) as site:
        allow(site, endpoint)
        await site.start()
        await site.prepare(registry(ROOT))
        wanted = topical(endpoint.url, "urn:gateway:topic:Encounter", "full-resource")
        id = (await posted(site, "/fhir/Subscription", wanted))["id"]
        await until(lambda: [each.kind for each in endpoint.got] == ["handshake"])
        endpoint.always = 503
        for given in GOOD(ROOT)[:2]:
            await site.mllp([given.body])
        await until(lambda: len(endpoint.events()) > 0)
        lines = await site.ask("subscriptions")
        assert [(each["subscription"]["id"], each["subscription"]["waiting"]) for each in lines] == [(id, 1)]
        states = {(each["thing"], each["state"]): each["count"] for each in await site.ask("status")}
        assert states["notification", "due"] == 1
        page = await site.get("cup-1", "/metrics")
        assert page.status_code == 200, site.log_path.read_text()[-3000:]
        assert 'gateway_notifications_waiting{repository="evaluator-1",status="active"} 1.0' in page.text
        refused = [await site.get(each, "/metrics") for each in ("hospital-1", "evaluator-1")]
        assert [each.status_code for each in refused] == [403, 403]
        assert not any("gateway_" in each.text for each in refused)
        await site.kill()
        endpoint.always, endpoint.got = 200, []
        await site.start()
        await until(lambda: endpoint.numbers() == [1])
        (entry,) = endpoint.events()[0].entries
        document = next(
            each["resource"]["target"][0]["reference"].partition("/")[2]
            for each in json.read((await site.get("evaluator-1", "/fhir/Provenance")).content)["entry"]
        )
        bundle = await site.get("evaluator-1", f"/fhir/Bundle/{document}")
        exact = (await site.get("evaluator-1", f"/fhir/Binary/{document}")).content
        assert bundle.content.rpartition(b',"signature":')[0] + b"}" == exact
        carried = [each["resource"] for each in json.read(exact)["entry"]]
        assert entry["resource"]["id"] in {each["id"] for each in carried if each["resourceType"] == "Encounter"}
        proof = json.read(bundle.content)["signature"]["data"]
        detached = (await site.get("evaluator-1", f"/fhir/Binary/{document}.jws")).content
        assert base64.b64decode(proof) == detached
        await site.ask("subscription_requeue", id=id, after=0, reason="a test")
        await until(lambda: endpoint.numbers() == [1, 1])
        whole = await site.get("evaluator-1", "/fhir?_type=Encounter,Patient")
        assert json.read(whole.content)["total"] == 2
