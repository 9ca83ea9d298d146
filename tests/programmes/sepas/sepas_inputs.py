"""Invented input of the programme: stays and plans of every disease group, and a run of mixed kinds."""

from __future__ import annotations

import json as text
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gateway.formats import media

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "mappings" / "sepas" / "samples"


class Group(NamedTuple):
    """A group, what puts a case into it (diagnoses, procedures of ICD-9-CM), and what does not although it is near."""

    name: str
    check: str
    diagnoses: tuple[str, ...]
    procedures: tuple[str, ...] = ()
    near: tuple[str, ...] = ()


GROUPS = (
    Group("thalassaemia", "SEPAS-220", ("D56.1",), near=("D57.0",)),
    Group("haemophilia", "SEPAS-221", ("D66",), near=("D68.9",)),
    Group("ms", "SEPAS-222", ("G35",), near=("G36.0",)),
    Group("dialysis", "SEPAS-223", ("N18.5",), ("39.95",), near=("N18.5",)),
    Group("metabolic", "SEPAS-224", ("E76.0",), near=("E84.0", "E86")),
    Group("eb", "SEPAS-225", ("Q81.1",), near=("Q80.0",)),
    Group("sma", "SEPAS-226", ("G12.0",), near=("G12.2",)),
    Group("cf", "SEPAS-227", ("E84.0",), near=("E83.1",)),
    Group("autism", "SEPAS-228", ("F84.0",), near=("F90.0",)),
    Group("kidney-transplant", "SEPAS-229", ("Z94.0",), ("55.69",), near=("Z94.4",)),
    Group("liver-transplant", "SEPAS-230", ("Z94.4",), ("50.59",), near=("Z94.0",)),
    Group("heart-transplant", "SEPAS-231", ("Z94.1",), ("37.51",), near=("Z94.2",)),
    Group("pancreas-transplant", "SEPAS-232", ("Z94.8",), ("52.80",), near=("Z94.8",)),
    Group("intestine-transplant", "SEPAS-243", ("Z94.8",), ("46.97",), near=("Z94.8",)),
    Group("lung-transplant", "SEPAS-234", ("Z94.2",), ("33.50",), near=("Z94.1",)),
    Group("bone-marrow-transplant", "SEPAS-202", ("Z94.8",), ("41.03",), near=("Z94.8",)),
    Group("cancer", "SEPAS-235", ("C50.4",), near=("D45", "D24")),
    Group("cardiovascular", "SEPAS-236", ("I21.0",), near=("R07.4",)),
    Group("chronic-mental", "SEPAS-237", ("F20.0",), near=("F23.0", "F32.1")),
    Group("dentistry", "SEPAS-238", ("K02.1",), near=("K20",)),
    Group("cell-infertility", "SEPAS-239", ("N97.0",), near=("N95.1",)),
)


def national_code(number: int) -> str:
    """A code with a right check digit (weights 10 to 2, modulo 11) that belongs to nobody."""
    nine = f"{910_000_000 + number:09d}"
    rest = sum(int(d) * w for d, w in zip(nine, range(10, 1, -1), strict=True)) % 11
    return nine + str(rest if rest < 2 else 11 - rest)


def _sample(name: str) -> Any:
    return text.loads((SAMPLES / name).read_text(encoding="utf-8"))


def _written(value: Any) -> bytes:
    return text.dumps(value, ensure_ascii=False).encode()


def stay(number: int, diagnoses: tuple[str, ...], procedures: tuple[str, ...] = (), **more: Any) -> bytes:
    """A whole stay as JSON. `more` replaces members of the document."""
    made = _sample("stay.json")
    made["visit"] = f"T-{number:05d}"
    made["patient"] |= {"nationalCode": national_code(number), "recordNumber": f"MR-{number}"}
    made["insurance"][0]["hid"] = f"HIDT{number:05d}"
    made["diagnoses"] = [{"code": c, "text": "آزمایشی", "status": "3", "date": "1404/10/15"} for c in diagnoses]
    made["procedures"] = [
        {"code": code, "system": "I9CP", "name": "آزمایشی", "date": "1404/10/15"} for code in procedures
    ]
    made["services"] = [made["services"][0] | {"id": f"S-{number}"}]
    return _written(made | more)


def plan(number: int, group: str, diagnoses: tuple[str, ...], services: tuple[str, ...] = ()) -> bytes:
    """A patient's plan that declares its group."""
    made = _sample("careplan.json")
    made["patient"]["nationalCode"] = national_code(number)
    made["plan"] |= {"group": group, "file": f"FILE-{number}"}
    made["plan"]["activities"] = [
        {"code": code, "system": "I9CP", "text": "آزمایشی", "schedule": "3/w"} for code in services
    ]
    made["diagnoses"] = [{"code": code, "text": "آزمایشی", "date": "1404/10/01"} for code in diagnoses]
    return _written(made)


class Sent(NamedTuple):
    """One submission of a mixed run, and what has to become of it: delivered, open, kept (owed to nobody), refused."""

    media: str
    body: bytes
    fate: str


def _hl7(name: str, number: int) -> bytes:
    body = (SAMPLES / name).read_bytes().decode().replace("\n", "\r")
    body = body.replace("0012345679", national_code(number)).replace("V-5001", f"T-{number:05d}")
    body = body.replace("P-1404-55", f"P-{number}").replace("REF-88", f"REF-{number}")
    return body.replace("SAMPLE-", f"MIX{number}-").replace("HIDTEST01", f"HIDT{number:05d}").encode()


def _rows(number: int) -> bytes:
    body = (SAMPLES / "services.csv").read_text(encoding="utf-8").replace("0012345679", national_code(number))
    return body.replace("V-7100", f"T-{number:05d}").replace("HIDTEST07", f"HIDT{number:05d}").encode()


def _bill(number: int) -> bytes:
    body = (SAMPLES / "bill.xml").read_text(encoding="utf-8").replace("0012345679", national_code(number))
    return body.replace("V-8100", f"T-{number:05d}").replace("HIDTEST08", f"HIDT{number:05d}").encode()


def _bundle(number: int) -> bytes:
    body = (SAMPLES / "bundle.fhir").read_text(encoding="utf-8").replace("0012345679", national_code(number))
    return body.replace("V-6100", f"T-{number:05d}").encode()


def mixed(count: int, seed: int, first: int = 1000) -> Iterator[Sent]:
    """So many cases of mixed kinds. Stays in two messages count as one case and are two submissions."""
    chance = random.Random(seed)
    for number in range(first, first + count):
        group = chance.choice(GROUPS)
        match number % 10:
            case 0:
                yield Sent(media.HL7V2, _hl7("adt-a03.hl7", number), "delivered")
                yield Sent(media.HL7V2, _hl7("dft-p03.hl7", number), "delivered")
            case 1:
                yield Sent(media.CSV, _rows(number), "delivered")
            case 2:
                yield Sent(media.XML, _bill(number), "delivered")
            case 3:
                yield Sent(media.FHIR_JSON, _bundle(number), "delivered")
            case 4:
                yield Sent(media.JSON, plan(number, group.name, group.diagnoses, group.procedures), "planned")
            case 5:
                yield Sent(media.JSON, plan(number, group.name, group.near), "refused")
            case 6:
                yield Sent(media.HL7V2, _hl7("adt-a01.hl7", number), "open")
            case 7:
                yield Sent(media.HL7V2, _hl7("ref-i12.hl7", number), "kept")
            case 8:
                yield Sent(media.JSON, stay(number, ("F20.0",)).replace(b"1404/10/15", b"1404/13/15"), "refused")
            case _:
                yield Sent(media.JSON, stay(number, group.diagnoses, group.procedures), "delivered")
