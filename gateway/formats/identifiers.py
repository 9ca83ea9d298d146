"""Identifiers with check digits. `check_…` answers None or a `Problem`; `normalise_…` writes the usual form.

Neither raises for bad input, and neither says that a number was issued: only that it could have been.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final

from stdnum.cn import ric
from stdnum.exceptions import InvalidChecksum, InvalidComponent, ValidationError
from stdnum.it import codicefiscale, iva

from gateway.formats.problem import Problem
from gateway.formats.source import Scalar
from gateway.formats.text import as_text, damaged, digits

_NOISE: Final = re.compile("[\\s\\-.\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_WIDE: Final = {0xFF21 + n: chr(ord("A") + n) for n in range(26)} | {0xFF41 + n: chr(ord("a") + n) for n in range(26)}


def _bare(text: str) -> str:
    return _NOISE.sub("", digits(text).translate(_WIDE)).upper()


def _shape(what: str, value: str) -> Problem:
    return Problem("GW-FMT-100", {"identifier": what, "value": value[:40]})


def _digit(what: str, value: str) -> Problem:
    return Problem("GW-FMT-101", {"identifier": what, "value": value[:40]})


# --- Iran ----------------------------------------


def normalise_national_code(text: str) -> str:
    """ASCII digits without separators; 8 and 9 digits get back the zeros that a spreadsheet took."""
    bare = _bare(text)
    return bare.zfill(10) if bare.isdigit() and 8 <= len(bare) <= 9 else bare


def national_code_digit(nine: str) -> str:
    """The check digit of the first nine digits: weights 10 to 2, modulo 11."""
    rest = sum(int(c) * w for c, w in zip(nine, range(10, 1, -1), strict=True)) % 11
    return str(rest if rest < 2 else 11 - rest)


def check_national_code(text: str) -> Problem | None:
    """کد ملی. Ten equal digits pass the arithmetic but have a code of their own (GW-FMT-102)."""
    number = normalise_national_code(text)
    if not re.fullmatch("[0-9]{10}", number):
        return _shape("national-code", text)
    if len(set(number)) == 1:
        return Problem("GW-FMT-102", {"value": text[:40]})
    return None if number[9] == national_code_digit(number[:9]) else _digit("national-code", text)


_LEGAL: Final = (29, 27, 23, 19, 17)


def legal_person_digit(ten: str) -> str:
    """The check digit of the first ten digits of a legal person's national id."""
    plus = int(ten[9]) + 2
    return str(sum((int(c) + plus) * _LEGAL[i % 5] for i, c in enumerate(ten)) % 11 % 10)


def normalise_legal_person(text: str) -> str:
    """ASCII digits without separators."""
    return _bare(text)


def check_legal_person(text: str) -> Problem | None:
    """شناسه ملی اشخاص حقوقی, eleven digits."""
    number = normalise_legal_person(text)
    if not re.fullmatch("[0-9]{11}", number) or len(set(number)) == 1:
        return _shape("legal-person", text)
    return None if number[10] == legal_person_digit(number[:10]) else _digit("legal-person", text)


# --- Italy ----------------------------------------


def normalise_codice_fiscale(text: str) -> str:
    """Capitals without separators; the letters of omocodia stay, they are part of the number."""
    return _bare(text)


def check_codice_fiscale(text: str) -> Problem | None:
    """Codice fiscale of a person (16 characters, with omocodia) or the numeric one (11 digits, as partita IVA)."""
    number = normalise_codice_fiscale(text)
    try:
        (iva if len(number) == 11 else codicefiscale).validate(number)
    except InvalidChecksum:
        return _digit("codice-fiscale", text)
    except InvalidComponent:
        return Problem("GW-FMT-103", {"identifier": "codice-fiscale", "value": text[:40]})
    except ValidationError:
        return _shape("codice-fiscale", text)
    return None


def codice_fiscale_digit(fifteen: str) -> str:
    """The check letter of the first fifteen characters (D.M. 12 March 1974)."""
    return str(codicefiscale.calc_check_digit(fifteen))


_NRE: Final = re.compile("[0-9]{3}[0-9A-Z]{2}[0-9]{10}")


def normalise_nre(text: str) -> str:
    """Capitals without separators; the asterisks of a printed bar code are left out."""
    return _bare(text).strip("*")


def check_nre(text: str) -> Problem | None:
    """Numero di ricetta elettronica: fifteen characters, region first. Its shape is all that is public."""
    return None if _NRE.fullmatch(normalise_nre(text)) else _shape("nre", text)


# --- China ----------------------------------------

_RESIDENT: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def normalise_resident_id(text: str) -> str:
    """ASCII digits and a capital X."""
    return _bare(text)


def resident_id_digit(seventeen: str) -> str:
    """The check character of the first seventeen digits (GB 11643)."""
    return "10X98765432"[sum(int(c) * w for c, w in zip(seventeen, _RESIDENT, strict=True)) % 11]


def check_resident_id(text: str) -> Problem | None:
    """公民身份号码, 18 characters, or the older 15 digits (no check character).

    Shape, date and check character are errors. A region that was not in use in the year of birth is a warning
    (GW-FMT-104): the code belongs to where and when the number was issued.
    """
    number = normalise_resident_id(text)
    if not re.fullmatch("[1-9][0-9]{16}[0-9X]|[1-9][0-9]{14}", number):
        return _shape("resident-id", text)
    born = number[6:14] if len(number) == 18 else f"19{number[6:12]}"
    if not _is_day(born):
        return Problem("GW-FMT-103", {"identifier": "resident-id", "value": text[:40]})
    if len(number) == 18 and number[17] != resident_id_digit(number[:17]):
        return _digit("resident-id", text)
    return None if _region_known(number, born) else Problem("GW-FMT-104", {"region": number[:6], "year": born[:4]})


def _is_day(text: str) -> bool:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8])).year >= 1850
    except ValueError:
        return False


def _region_known(number: str, born: str) -> bool:
    try:
        ric.get_birth_place(number if len(number) == 18 else f"{number[:6]}{born}{number[12:]}0")
    except (ValidationError, LookupError):
        return False
    return True


_USCC: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_SHAPE: Final = re.compile(f"[{_USCC}]{{2}}[0-9]{{6}}[{_USCC}]{{10}}")


def normalise_uscc(text: str) -> str:
    """Capitals without separators."""
    return _bare(text)


def uscc_digit(seventeen: str) -> str:
    """The check character of the first seventeen (GB 32100-2015); a sum of 0 modulo 31 gives 0."""
    total = sum(_USCC.index(c) * pow(3, i, 31) for i, c in enumerate(seventeen))
    return _USCC[(31 - total % 31) % 31]


def check_uscc(text: str) -> Problem | None:
    """统一社会信用代码, 18 characters of 31."""
    number = normalise_uscc(text)
    if not _USCC_SHAPE.fullmatch(number):
        return _shape("uscc", text)
    return None if number[17] == uscc_digit(number[:17]) else _digit("uscc", text)


# --- HL7 CX and XON ----------------------------------------


def _mod10(number: str) -> str:
    total = 0
    for i, c in enumerate(reversed(number)):
        doubled = int(c) * 2 if i % 2 == 0 else int(c)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def _mod11(number: str) -> str:
    total = sum(int(c) * (i % 6 + 2) for i, c in enumerate(reversed(number)))
    return str((11 - total % 11) % 11 % 10)


def _npi(number: str) -> str:
    return _mod10("80840" + number)


_SCHEMES: Final[dict[str, Callable[[str], str]]] = {"M10": _mod10, "M11": _mod11, "NPI": _npi}
"""HL7 table 0061. ISO, BCV and the like name a family, not an algorithm, and are not checked."""


def check_cx(number: str, digit: str, scheme: str) -> Problem | None:
    """CX.2 against CX.1 by the scheme in CX.3 (XON.4, XON.3 and XON.5 alike). Unknown schemes are not judged."""
    algorithm = _SCHEMES.get(scheme)
    bare = number.lstrip("0") or number
    if algorithm is None or not digit or not (bare.isascii() and bare.isdigit()):
        return None
    return None if algorithm(number) == digit.strip() else _digit(f"CX ({scheme})", f"{number}-{digit}")


CHECKS: Final[dict[str, Callable[[str], Problem | None]]] = {
    "national-code": check_national_code,
    "legal-person": check_legal_person,
    "codice-fiscale": check_codice_fiscale,
    "nre": check_nre,
    "resident-id": check_resident_id,
    "uscc": check_uscc,
}
"""Name in mapping files -> check."""


def check(kind: str, value: Scalar) -> Problem | None:
    """The check of that name for any cell: a number that a spreadsheet has rounded is refused before it is judged."""
    if damaged(value):
        return Problem("GW-FMT-105", {"value": as_text(value)[:40]})
    return CHECKS[kind](as_text(value))


NORMALISE: Final[dict[str, Callable[[str], str]]] = {
    "national-code": normalise_national_code,
    "legal-person": normalise_legal_person,
    "codice-fiscale": normalise_codice_fiscale,
    "nre": normalise_nre,
    "resident-id": normalise_resident_id,
    "uscc": normalise_uscc,
}
"""Name in mapping files -> normal form."""
