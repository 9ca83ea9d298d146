"""Resident ids and credit codes as people have them: all good ones are taken, every slip of one digit is caught."""

from __future__ import annotations

import random
from datetime import date, timedelta

from gateway.errors import codes
from gateway.formats import identifiers

COUNT = 10_000
REGIONS = ("500101", "500105", "500112", "500118", "510202", "510221", "512301", "500157", "422826")
"""Present and former codes: Chongqing before 1997 was 5102 and 5123; some counties were merged or renamed later."""
USCC = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def residents(seed: int) -> list[str]:
    chance, made = random.Random(seed), []
    for _ in range(COUNT):
        born = date(1930, 1, 1) + timedelta(days=chance.randrange(33_000))
        first = f"{chance.choice(REGIONS)}{born:%Y%m%d}{chance.randrange(1000):03}"
        rest = sum(
            int(c) * w for c, w in zip(first, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), strict=True)
        )
        made.append(first + "10X98765432"[rest % 11])
    return made


def credit_codes(seed: int) -> list[str]:
    chance, made = random.Random(seed), []
    for _ in range(COUNT):
        first = chance.choice("159AN") + chance.choice("1239") + chance.choice(REGIONS)
        first += "".join(chance.choice(USCC) for _ in range(9))
        rest = sum(USCC.index(c) * 3**i for i, c in enumerate(first)) % 31
        made.append(first + USCC[(31 - rest) % 31])
    return made


def refused(fault: object) -> bool:
    return fault is not None and codes()[fault.code].severity == "error"  # type: ignore[attr-defined]


def test_ten_thousand_good_resident_ids_are_accepted() -> None:
    """Region and year may not fit together any more: that is a warning, because the number does not change."""
    assert [each for each in residents(1) if refused(identifiers.check_resident_id(each))] == []


def test_every_single_digit_change_of_a_resident_id_is_caught() -> None:
    """Each number with one of its 18 characters changed, all other digits in turn for a part of them."""
    chance, slipped = random.Random(2), []
    for number, good in enumerate(residents(3)):
        places = range(18) if number % 50 == 0 else (chance.randrange(18),)
        for place in places:
            letters = "0123456789X" if place == 17 else "0123456789"
            others = [c for c in letters if c != good[place]]
            for other in others if number % 50 == 0 else (chance.choice(others),):
                changed = good[:place] + other + good[place + 1 :]
                if not refused(identifiers.check_resident_id(changed)):
                    slipped.append((good, changed))
    assert slipped == []


def test_a_former_region_code_is_accepted_with_a_word() -> None:
    """500105 was not in use in 1950, and 500112 is not any more: still the person's number (GW-FMT-104)."""
    for region in ("500105", "500112"):
        first = f"{region}19500301001"
        number = first + identifiers.resident_id_digit(first)
        fault = identifiers.check_resident_id(number)
        assert fault is None or (fault.code == "GW-FMT-104" and not refused(fault))


def test_ten_thousand_good_credit_codes_are_accepted() -> None:
    """GB 32100-2015: 18 characters of 31, a check character modulo 31."""
    assert [each for each in credit_codes(4) if refused(identifiers.check_uscc(each))] == []


def test_every_single_character_change_of_a_credit_code_is_caught() -> None:
    """The weights are powers of 3 modulo 31, a prime: no single slip can hide."""
    chance, slipped = random.Random(5), []
    for number, good in enumerate(credit_codes(6)):
        for place in range(18) if number % 50 == 0 else (chance.randrange(18),):
            letters = "0123456789" if 2 <= place < 8 else USCC
            others = [c for c in letters if c != good[place]]
            for other in others if number % 50 == 0 else (chance.choice(others),):
                changed = good[:place] + other + good[place + 1 :]
                if not refused(identifiers.check_uscc(changed)):
                    slipped.append((good, changed))
    assert slipped == []
