"""`gateway subscriptions`: what repositories subscribed to, what they are owed; let a parked one go on, tell again."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from gateway.commands import ledger, show
from gateway.message import Json


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser("subscriptions", help="what repositories subscribed to, and what they are owed")
    parser.add_argument("--repository", help="only this one's")
    parser.add_argument("--resume", metavar="ID", help="let a parked one go on where it was")
    parser.add_argument("--requeue", metavar="ID", help="tell again what came after --after")
    parser.add_argument("--after", type=int, default=0, help="number of the last event that is not told again")
    parser.add_argument("--reason", default="", help="recorded in the audit trail; no names of people")
    ledger.add_config(parser)
    parser.set_defaults(run=run, parser=parser)


def _line(line: Json) -> None:
    if "did" in line:
        print(f"{line['subscription']}  {line['did']}")
        return
    each = line["subscription"]
    numbers = f"{each['delivered']} of {each['events']} told"
    why = f"{each['error'] or '-'}, {each['tries']} tries in vain" if each["tries"] or each["error"] else "-"
    age = show.age(each["age_seconds"])
    print(f"{each['id']}  {each['repository']:<16} {each['status']:<10} {age:<10} {numbers:<22} {why}")
    print(f"  {each['criteria']} -> {each['endpoint']}")


def run(arguments: Namespace) -> int:
    """One of the three."""
    if not (arguments.resume or arguments.requeue):
        return ledger.run(arguments.config, "subscriptions", {"repository": arguments.repository}, _line)
    if not arguments.reason:
        arguments.parser.error("--reason is needed")
    command = "subscription_resume" if arguments.resume else "subscription_requeue"
    wanted = {"id": arguments.resume or arguments.requeue, "after": arguments.after, "reason": arguments.reason}
    return ledger.run(arguments.config, command, wanted, _line)
