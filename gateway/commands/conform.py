"""`gateway conform PROGRAMME --sender X`: a sender's test messages against the stand-in, and a signed report.

With `--enter NUMBER` the conformity record that an authority gave is entered instead: it is what opens the gate.
"""

from __future__ import annotations

import asyncio
import html
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway import conforming, workers
from gateway import programme as programme_data
from gateway import settings as configuration
from gateway.clock import SystemClock
from gateway.commands import compare, convert, ledger
from gateway.errors import Misconfigured
from gateway.formats import json
from gateway.message import Case, Finding, Json
from gateway.programme import Programme
from gateway.settings import Settings

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "conforms": "conforms",
        "fails": "fails",
        "not_sent": "not sent",
        "sender": "Sender",
        "made": "Made at",
        "version": "Software version",
        "ready": "Every required message conforms",
        "unready": "Not every required message conforms",
        "message": "Message",
        "mandatory": "Mandatory elements",
        "missing": "missing",
        "errors": "Errors",
        "inputs": "Inputs",
        "items": "items",
        "refused": "refused",
    },
    "fa": {
        "conforms": "مطابق",
        "fails": "نامطابق",
        "not_sent": "ارسال نشده",
        "sender": "فرستنده",
        "made": "زمان تهیه",
        "version": "نسخه نرم‌افزار",
        "ready": "همه پیام‌های الزامی مطابق‌اند",
        "unready": "همه پیام‌های الزامی مطابق نیستند",
        "message": "پیام",
        "mandatory": "اقلام الزامی",
        "missing": "موجود نیست",
        "errors": "خطاها",
        "inputs": "ورودی‌ها",
        "items": "مورد",
        "refused": "رد شده",
    },
}


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("conform", help="a sender's test messages against the stand-in; a signed report")
    parser.add_argument("programme")
    parser.add_argument("--sender", help="whose messages; its options count")
    parser.add_argument("--messages", type=Path, help="folder with its test messages (default: what it sent here)")
    parser.add_argument("--destination", default="", help="whose signer, ids and options are used (none: unsigned)")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the report")
    parser.add_argument("--enter", metavar="NUMBER", help="enter the record that an authority gave for --destination")
    parser.add_argument("--issuer", default="")
    parser.add_argument("--software-version", default=version("gateway"))
    parser.add_argument("--from", dest="begins", help="first day of the record (YYYY-MM-DD)")
    parser.add_argument("--to", dest="ends", help="last day of the record")
    ledger.add_config(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """0 where every required message conforms."""
    settings = configuration.load(arguments.config)
    if arguments.enter:
        return _enter(arguments, settings)
    if not arguments.sender:
        raise Misconfigured(detail="conform: --sender is needed")
    report = asyncio.run(_judge(arguments, settings))
    name = f"conformance-{arguments.programme}-{arguments.sender}"
    signer, at = workers.evidence_signer(settings), SystemClock().now()
    pages = {f"{name}.json": json.write(report)}
    pages |= {f"{name}.{language}.html": page(report, language) for language in _WORDS}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for file, body in pages.items():
        (arguments.out / file).write_bytes(body)
        (arguments.out / f"{file}.jws").write_text(signer.sign(body, at).jws, encoding="ascii")
    for each in report["messages"]:
        print(f"{each['status']:<9} {each['type']}")
    print(f"{arguments.out / name}.json (and .fa.html, .en.html, each with its signature)")
    return 0 if report["ready"] else 1


def _enter(arguments: Namespace, settings: Settings) -> int:
    if not arguments.destination or not arguments.begins or not arguments.ends:
        raise Misconfigured(detail="conform --enter: --destination, --from and --to are needed")
    place = settings.one_destination(arguments.destination)
    try:
        begins = datetime.fromisoformat(arguments.begins).replace(tzinfo=UTC)
        ends = datetime.fromisoformat(arguments.ends).replace(tzinfo=UTC, hour=23, minute=59, second=59)
    except ValueError:
        raise Misconfigured(detail="conform --enter: --from and --to are days like 2026-11-21") from None
    record = {
        "destination": place.id,
        "number": arguments.enter,
        "system_id": place.system_id,
        "software_version": arguments.software_version,
        "valid_from": begins.isoformat(),
        "valid_to": ends.isoformat(),
        "issuer": arguments.issuer,
    }
    return ledger.run(arguments.config, "conformity", {"record": record}, _entered)


def _entered(line: Json) -> None:
    print(f"the record {line['entered']} is entered for {line['destination']}")


async def _judge(arguments: Namespace, settings: Settings) -> Json:
    home, name, at = Path(settings.home), arguments.programme, SystemClock().now()
    listed, programme = conforming.load(home, name), programme_data.load(home, name)
    rules = workers.load_rules(settings)
    made, inputs = await (_of_files if arguments.messages else _of_ledger)(arguments, settings, rules, programme, at)
    place = settings.one_destination(arguments.destination) if arguments.destination else None
    anchors = settings.trust.get("signer")
    with tempfile.TemporaryDirectory(prefix="gateway-conform-") as folder:
        judged = await conforming.judge(
            listed,
            made,
            rules,
            programme,
            place,
            settings.key,
            Path(anchors) if anchors else None,
            Path(folder),
            at,
        )
    return conforming.report(listed, judged, inputs, arguments.sender, arguments.software_version, at)


Taken = tuple[list[conforming.Made], list[conforming.Input]]


async def _of_files(
    arguments: Namespace, settings: Settings, rules: workers.Rules, programme: Programme, at: datetime
) -> Taken:
    """From a folder of test messages; nothing of them is kept."""
    name = programme.name
    entries = await convert._registry(settings, name)
    bench = conforming.Bench(rules, programme, at)
    for path in compare.inputs(arguments.messages):
        kind = convert.media_type(path, None)
        given = convert.submission(path.read_bytes(), kind, name, arguments.sender, at)
        bench.take(path.name, given, convert.context(given, settings, entries, at))
    return list(bench.documents()), bench.inputs


async def _of_ledger(
    arguments: Namespace, settings: Settings, rules: workers.Rules, programme: Programme, at: datetime
) -> Taken:
    """From what the sender has sent to this gateway: the last document of each of its cases."""
    asked = {"programme": programme.name, "sender": arguments.sender}
    made: list[conforming.Made] = []
    inputs: dict[str, conforming.Input] = {}
    async for line in ledger.answers(settings, "made_of", asked):
        case = msgspec.convert(line["case"], Case)
        made.append(conforming.Made(case, line["document"]["body"].encode(), tuple(line["submissions"])))
        for id in line["submissions"]:
            inputs[id] = inputs.get(id) or await _input_of(settings, id)
    return made, list(inputs.values())


async def _input_of(settings: Settings, id: str) -> conforming.Input:
    lines = [line async for line in ledger.answers(settings, "trace", {"submission": id})]
    digest = next((line["submission"]["digest"] for line in lines if "submission" in line), "")
    items = [line["item"] for line in lines if "item" in line]
    findings = [msgspec.convert(found, Finding) for item in items for found in item["result"].get("findings", [])]
    refused = sum(1 for item in items if item["state"] == "refused")
    return conforming.Input(id, digest, len(items), refused, tuple(findings))


# --- for people ----------------------------------------


def page(report: Json, language: str) -> bytes:
    """The report as one HTML page without scripts."""
    words = _WORDS[language]
    ready = words["ready" if report["ready"] else "unready"]
    heads = (("sender", report["sender"]), ("version", report["software_version"]), ("made", report["made_at"]))
    lines = [
        f'<!DOCTYPE html><html lang="{language}" dir="{"rtl" if language == "fa" else "ltr"}"><head>',
        f'<meta charset="utf-8"><title>{_safe(report["title"][language])}</title><style>{_STYLE}</style></head><body>',
        f"<h1>{_safe(report['title'][language])}</h1><p class=note>{_safe(report['disclaimer'][language])}</p>",
        "<dl>" + "".join(f"<dt>{words[name]}</dt><dd dir=ltr>{_safe(value)}</dd>" for name, value in heads) + "</dl>",
        f"<p><strong>{ready}</strong></p>",
        *(line for each in report["messages"] for line in _section(each, words, language)),
        f"<h2>{words['inputs']}</h2><ul>",
        *(_input(each, words) for each in report["inputs"]),
        "</ul></body></html>",
    ]
    return "\n".join(lines).encode("utf-8")


_STYLE: Final = (
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em}.note{border:1px solid;padding:1em}"
)


def _safe(value: Any) -> str:
    return html.escape(str(value))


def _section(message: Json, words: Mapping[str, str], language: str) -> Iterable[str]:
    yield f"<h2>{_safe(message['title'][language])} <small dir=ltr>{_safe(message['type'])}</small></h2>"
    yield f"<p>{words[message['status']]}</p>"
    gone = {path for tried in message["tried"] for path in tried["missing"]}
    told = "".join(
        f"<li dir=ltr>{_safe(path)}{' – ' + words['missing'] if path in gone else ''}</li>"
        for path in message["mandatory"]
    )
    yield f"<h3>{words['mandatory']}</h3><ul>{told}</ul>"
    wrong = [line for tried in message["tried"] for line in _errors(tried)]
    if wrong:
        yield f"<h3>{words['errors']}</h3><ul>{''.join(f'<li dir=ltr>{_safe(line)}</li>' for line in wrong)}</ul>"


def _errors(tried: Json) -> Iterable[str]:
    for found in tried["findings"]:
        yield f"{', '.join(tried['inputs'])}: {found['code']} {found['place'] or ''}"
    for problem in tried["problems"]:
        yield f"{', '.join(tried['inputs'])}: {problem}"


def _input(each: Json, words: Mapping[str, str]) -> str:
    found = ", ".join(dict.fromkeys(f"{f['code']} {f['place'] or ''}".strip() for f in each["findings"]))
    sums = f"{each['items']} {words['items']}, {each['refused']} {words['refused']}"
    return f"<li><span dir=ltr>{_safe(each['name'])}</span>: {sums} <small dir=ltr>{_safe(found)}</small></li>"
