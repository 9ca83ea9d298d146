"""The part of UCUM that health data uses: parse a unit expression to a factor and dimensions.

Source: The Unified Code for Units of Measure, case-sensitive codes. A code that the table lacks gives None: what
depends on it stays undecided.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

import msgspec

MAX_CODE: Final = 100
MAX_EXPONENT: Final = 30

Dimensions = tuple[tuple[str, int], ...]


class Unit(msgspec.Struct, frozen=True):
    """A unit as a multiple of base units. `offset` is added before the factor (degrees Celsius, Fahrenheit)."""

    factor: Fraction
    dimensions: Dimensions = ()
    offset: Fraction = Fraction(0)


_PREFIXES: Final = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip

# Base units (mole kept as a dimension of its own), and arbitrary units, which only compare with themselves.
_BASE: Final = ("m", "g", "s", "K", "C", "cd", "rad", "mol")
_ARBITRARY: Final = (
    "[iU]", "[IU]", "[arb'U]", "[USP'U]", "[CFU]", "[PFU]", "[GPL'U]", "[MPL'U]", "[APL'U]", "[AU]", "[BAU]",
    "[EID_50]", "[TCID_50]", "[CCID_50]", "[D'ag'U]", "[Lf]", "[FFU]", "[pH]", "[HPF]", "[LPF]", "eq", "osm", "B",
    "Np", "bit",
)  # fmt: skip

# code: (factor, unit expression that it stands for)
_DERIVED: Final = {
    "10*": ("10", "1"), "10^": ("10", "1"), "%": ("0.01", "1"), "[ppth]": ("0.001", "1"), "[ppm]": ("1e-6", "1"),
    "[ppb]": ("1e-9", "1"), "[pi]": ("3.1415926535897932384626433832795", "1"),
    "min": ("60", "s"), "h": ("3600", "s"), "d": ("86400", "s"), "wk": ("604800", "s"),
    "a": ("31557600", "s"), "a_j": ("31557600", "s"), "a_g": ("31556952", "s"), "a_t": ("31556925.216", "s"),
    "mo": ("2629800", "s"), "mo_j": ("2629800", "s"), "mo_g": ("2629746", "s"), "mo_s": ("2551442.976", "s"),
    "L": ("0.001", "m3"), "l": ("0.001", "m3"), "ar": ("100", "m2"), "t": ("1000000", "g"),
    "Hz": ("1", "s-1"), "N": ("1000", "g.m.s-2"), "Pa": ("1000", "g.m-1.s-2"), "J": ("1000", "g.m2.s-2"),
    "W": ("1000", "g.m2.s-3"), "A": ("1", "C.s-1"), "V": ("1000", "g.m2.s-2.C-1"), "F": ("0.001", "C2.s2.g-1.m-2"),
    "Ohm": ("1000", "g.m2.s-1.C-2"), "S": ("0.001", "C2.s.g-1.m-2"), "Wb": ("1000", "g.m2.s-1.C-1"),
    "T": ("1000", "g.s-1.C-1"), "H": ("1000", "g.m2.C-2"), "lm": ("1", "cd"), "lx": ("1", "cd.m-2"),
    "Bq": ("1", "s-1"), "Gy": ("1", "m2.s-2"), "Sv": ("1", "m2.s-2"), "kat": ("1", "mol.s-1"),
    "U": ("1e-6", "mol.min-1"), "bar": ("100000000", "g.m-1.s-2"), "atm": ("101325000", "g.m-1.s-2"),
    "m[Hg]": ("133322000", "g.m-1.s-2"), "m[H2O]": ("9806650", "g.m-1.s-2"), "cal": ("4184", "g.m2.s-2"),
    "[Cal]": ("4184000", "g.m2.s-2"), "eV": ("1.602176634e-16", "g.m2.s-2"), "u": ("1.66053906660e-24", "g"),
    "g%": ("10000", "g.m-3"), "M": ("1000", "mol.m-3"), "deg": ("0.0174532925199432957692369076848861", "rad"),
    "sr": ("1", "rad2"), "[g]": ("9.80665", "m.s-2"), "dyn": ("0.01", "g.m.s-2"), "erg": ("0.0001", "g.m2.s-2"),
    "P": ("100", "g.m-1.s-1"), "Ci": ("37000000000", "s-1"), "R": ("2.58e-7", "C.g-1"), "RAD": ("0.01", "m2.s-2"),
    "REM": ("0.01", "m2.s-2"), "St": ("0.0001", "m2.s-1"), "Ao": ("1e-10", "m"), "b": ("1e-28", "m2"),
    "[in_i]": ("0.0254", "m"), "[ft_i]": ("0.3048", "m"), "[yd_i]": ("0.9144", "m"), "[mi_i]": ("1609.344", "m"),
    "[nmi_i]": ("1852", "m"), "[in_us]": ("0.02540005080010160", "m"), "[ft_us]": ("0.30480060960121920", "m"),
    "[sin_i]": ("0.00064516", "m2"), "[sft_i]": ("0.09290304", "m2"), "[cin_i]": ("0.000016387064", "m3"),
    "[cft_i]": ("0.028316846592", "m3"), "[lb_av]": ("453.59237", "g"), "[oz_av]": ("28.349523125", "g"),
    "[gr]": ("0.06479891", "g"), "[dr_av]": ("1.7718451953125", "g"), "[stone_av]": ("6350.29318", "g"),
    "[oz_tr]": ("31.1034768", "g"), "[lb_tr]": ("373.2417216", "g"), "[car_m]": ("0.2", "g"),
    "[gal_us]": ("0.003785411784", "m3"), "[qt_us]": ("0.000946352946", "m3"), "[pt_us]": ("0.000473176473", "m3"),
    "[gil_us]": ("0.00011829411825", "m3"), "[foz_us]": ("0.0000295735295625", "m3"),
    "[cup_us]": ("0.0002365882365", "m3"), "[tbs_us]": ("0.00001478676478125", "m3"),
    "[tsp_us]": ("0.00000492892159375", "m3"), "[cup_m]": ("0.00024", "m3"), "[tbs_m]": ("0.000015", "m3"),
    "[tsp_m]": ("0.000005", "m3"), "[foz_m]": ("0.00003", "m3"), "[drp]": ("5e-8", "m3"),
    "[lbf_av]": ("4448.2216152605", "g.m.s-2"), "[psi]": ("6894757.293168", "g.m-1.s-2"),
    "[knt_i]": ("0.51444444444444444444", "m.s-1"), "[Ch]": ("0.000333333333333333333333", "m"),
    "[diop]": ("1", "m-1"), "[mesh_i]": ("39.370078740157480315", "m-1"), "[degR]": ("0.55555555555555555556", "K"),
    "'": ("0.000290888208665721596154", "rad"), "''": ("0.00000484813681109535993590", "rad"),
    "gon": ("0.0157079632679489661923", "rad"), "circ": ("6.28318530717958647692", "rad"), "By": ("8", "bit"),
}  # fmt: skip
_METRIC: Final = frozenset(_BASE) | {
    "L", "l", "ar", "t", "Hz", "N", "Pa", "J", "W", "A", "V", "F", "Ohm", "S", "Wb", "T", "H", "lm", "lx", "Bq", "Gy",
    "Sv", "kat", "U", "bar", "m[Hg]", "m[H2O]", "cal", "[Cal]", "eV", "u", "g%", "dyn", "erg", "P", "Ci", "R", "RAD",
    "REM", "St", "b", "[iU]", "[IU]", "eq", "osm", "B", "Np", "bit", "By", "sr", "M", "Cel", "a", "a_j", "a_g", "a_t",
}  # fmt: skip
_SPECIAL: Final = {
    "Cel": Unit(Fraction(1), (("K", 1),), Fraction("273.15")),
    "[degF]": Unit(Fraction(5, 9), (("K", 1),), Fraction("459.67")),
}
_COMPONENT: Final = re.compile(
    r"(?P<open>\()|(?P<factor>\d+)(?![*^\d])|(?P<note>\{[^{}]*\})"
    r"|(?P<atom>(?:10[*^]|%|'{1,2}|[A-Za-z_%]*(?:\[[^\[\]\s]*\])?(?:_[a-z]+)?%?)?)"
    r"(?P<exponent>[+-]?\d+)?(?P<remark>\{[^{}]*\})?",
    re.ASCII,
)


def _times(left: Unit, right: Unit, power: int = 1) -> Unit:
    sums = dict(left.dimensions)
    for name, count in right.dimensions:
        sums[name] = sums.get(name, 0) + count * power
    dimensions = tuple(sorted((name, count) for name, count in sums.items() if count))
    return Unit(left.factor * right.factor**power, dimensions)


_ONE: Final = Unit(Fraction(1))


class _Reader:
    """Recursive descent over one unit expression; ValueError where it is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0

    def whole(self) -> Unit:
        found = self.term()
        if self.at != len(self.text):
            raise ValueError(self.text)
        return found

    def term(self) -> Unit:
        self.depth += 1
        if self.depth > 10:
            raise ValueError(self.text)
        power = -1 if self.skip("/") else 1
        found = _times(_ONE, self.component(), power) if power < 0 else self.component()
        while self.at < len(self.text) and self.text[self.at] in "./":
            power = 1 if self.text[self.at] == "." else -1
            self.at += 1
            found = _times(found, self.component(), power)
        self.depth -= 1
        return found

    def skip(self, mark: str) -> bool:
        if self.text.startswith(mark, self.at):
            self.at += 1
            return True
        return False

    def component(self) -> Unit:
        match = _COMPONENT.match(self.text, self.at)
        if match is None or match.end() == self.at:
            raise ValueError(self.text)
        self.at = match.end()
        if match["open"]:
            found = self.term()
            if not self.skip(")"):
                raise ValueError(self.text)
            return found
        if match["factor"]:
            if int(match["factor"]) == 0:
                raise ValueError(self.text)
            return Unit(Fraction(int(match["factor"])))
        if match["note"]:
            return _ONE
        power = int(match["exponent"] or 1)
        if abs(power) > MAX_EXPONENT:
            raise ValueError(self.text)
        base = atom(match["atom"])
        return base if power == 1 else _times(_ONE, base, power)


@lru_cache(maxsize=1024)
def atom(code: str) -> Unit:
    """One unit, with or without a metric prefix. ValueError where the table lacks it."""
    found = _plain(code)
    if found is not None:
        return found
    for length in (2, 1):
        prefix, rest = code[:length], code[length:]
        if prefix in _PREFIXES and rest in _METRIC:
            base = _plain(rest)
            if base is not None and not base.offset:
                return Unit(base.factor * Fraction(10) ** _PREFIXES[prefix], base.dimensions)
    raise ValueError(code)


def _plain(code: str) -> Unit | None:
    if code in _BASE or code in _ARBITRARY:
        return Unit(Fraction(1), ((code, 1),))
    if code in _DERIVED:
        factor, meaning = _DERIVED[code]
        base = _ONE if meaning == "1" else _Reader(meaning).whole()
        return Unit(Fraction(factor) * base.factor, base.dimensions)
    return _SPECIAL.get(code)


def unit(code: str) -> Unit | None:
    """The unit that a UCUM code names, or None where it cannot be told."""
    return _unit(code) if 0 < len(code) <= MAX_CODE else None


@lru_cache(maxsize=4_096)
def _unit(code: str) -> Unit | None:
    try:
        return _Reader(code).whole()
    except ValueError:
        return None


def code_of(dimensions: Dimensions) -> str:
    """A UCUM code for base units: `m2`, `g.m-1`; `1` for none."""
    return ".".join(name if count == 1 else f"{name}{count}" for name, count in dimensions) or "1"
