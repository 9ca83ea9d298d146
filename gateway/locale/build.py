"""Make the gettext catalogues from the tables in `gateway/codes/`: `python -m gateway.locale.build [--check]`.

The tables are the one place to edit; the catalogues are what gettext reads and translators' tools open. Only the
standard library is used, so the build needs nothing installed. Format: GNU gettext manual, "MO Files".
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from gateway.errors import codes
from gateway.message import LANGUAGES, Language

HERE = Path(__file__).parent
_HEADER = "Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\nLanguage: {}\n"


def _texts(language: Language) -> dict[str, str]:
    """Context and English text, joined as gettext joins them, -> translation. The context is the code."""
    pairs: dict[str, str] = {}
    for code, row in codes().items():
        for kind, texts in (("text", row.text), ("mend", row.mend)):
            if texts["en"]:
                pairs[f"{code}.{kind}\x04{texts['en']}"] = texts[language]
    return pairs


def _mo(pairs: dict[str, str], language: str) -> bytes:
    rows = sorted({"": _HEADER.format(language), **pairs}.items())
    ids = b"".join(key.encode() + b"\0" for key, _ in rows)
    strings = b"".join(value.encode() + b"\0" for _, value in rows)
    count, head = len(rows), 28
    id_at, string_at = head + 16 * count, head + 16 * count + len(ids)
    id_table, string_table = b"", b""
    for key, value in rows:
        raw_key, raw_value = key.encode(), value.encode()
        id_table += struct.pack("<II", len(raw_key), id_at)
        string_table += struct.pack("<II", len(raw_value), string_at)
        id_at += len(raw_key) + 1
        string_at += len(raw_value) + 1
    header = struct.pack("<7I", 0x950412DE, 0, count, head, head + 8 * count, 0, head + 16 * count)
    return header + id_table + string_table + ids + strings


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _po(pairs: dict[str, str], language: str) -> str:
    lines = ["# Made by gateway/locale/build.py from gateway/codes/; edit there.", 'msgid ""']
    lines.append("msgstr " + _quote(_HEADER.format(language)))
    for key, value in sorted(pairs.items()):
        context, _, english = key.partition("\x04")
        lines += ["", f"msgctxt {_quote(context)}", f"msgid {_quote(english)}", f"msgstr {_quote(value)}"]
    return "\n".join(lines) + "\n"


def main(check: bool = False) -> int:
    """Write the catalogues; with `check`, only say whether they are up to date (exit code 1 if not)."""
    stale: list[Path] = []
    for language in LANGUAGES:
        if language == "en":
            continue
        pairs = _texts(language)
        folder = HERE / language / "LC_MESSAGES"
        for path, content in (
            (folder / "gateway.po", _po(pairs, language).encode()),
            (folder / "gateway.mo", _mo(pairs, language)),
        ):
            if path.exists() and path.read_bytes() == content:
                continue
            stale.append(path)
            if not check:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    for path in stale:
        sys.stdout.write(f"{'stale' if check else 'written'}: {path.relative_to(HERE.parent.parent)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
