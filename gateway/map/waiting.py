"""Stands in for two readers until they are there."""


class BadIdentifier(Exception): ...


class BadDate(Exception): ...


SCHEMES = {"national-code", "codice-fiscale"}


def check(scheme: str, text: str) -> str:
    if scheme == "national-code":
        from gateway.formats.text import digits

        d = digits(text).zfill(10)
        r = sum(int(c) * (10 - i) for i, c in enumerate(d[:9])) % 11 if d.isdigit() and len(d) == 10 else 99
        if len(set(d)) == 1 or int(d[-1]) != (r if r < 2 else 11 - r):
            raise BadIdentifier("the check digit does not fit")
        return d
    return text


def jalali_to_iso(text: str) -> str:
    from persiantools.jdatetime import JalaliDate

    from gateway.formats.text import digits

    try:
        y, m, d = (int(x) for x in digits(text).replace("-", "/").split("/"))
        return JalaliDate(y, m, d).to_gregorian().isoformat()
    except ValueError:
        raise BadDate("there is no such day") from None


def to_jalali(day) -> tuple[int, int, int]:
    from persiantools.jdatetime import JalaliDate

    j = JalaliDate(day)
    return j.year, j.month, j.day
