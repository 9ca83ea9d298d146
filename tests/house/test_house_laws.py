"""The laws of the house (ARCHITECTURE, "Laws"), read from the syntax trees of what is committed."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "gateway"
SOURCES = sorted(p for p in PACKAGE.rglob("*.py"))
TOP = {
    "gateway",
    "mappings",
    "profiles",
    "certs",
    "tests",
    "bench",
    "docs",
    ".ci",
    "Dockerfile",
    "Makefile",
    "pyproject.toml",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "requirements.lock",
}
ROOMS = {
    "receive",
    "map",
    "validate",
    "gather",
    "sign",
    "deliver",
    "pull",
    "measure",
    "store",
    "audit",
    "desk",
    "simulate",
}
SHARED = {
    "message",
    "kept",
    "value",
    "ports",
    "errors",
    "clock",
    "flow",
    "settings",
    "programme",
    "formats",
    "fhirpath",
    "codes",
    "locale",
}
WIRING = {"app.py", "cli.py", "__main__.py", "network.py", "commands"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            base = node.module or ""
            yield base
            if base == "gateway":
                yield from (f"gateway.{alias.name}" for alias in node.names)


def calls(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def test_the_top_level_holds_exactly_what_the_design_names() -> None:
    """A newcomer must not have to ask what a folder is for."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}
    assert {t for t in top if not t.startswith(".")} | {".ci"} == TOP


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) in ROOMS], ids=str)
def test_rooms_do_not_import_rooms(path: Path) -> None:
    """Only the wiring puts rooms together; otherwise no room can be replaced or tested alone."""
    own = room_of(path)
    for name in imports(path):
        if name.startswith("gateway."):
            other = name.split(".")[1]
            assert other in SHARED | {own}, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if room_of(p) in SHARED | {f"{s}.py" for s in SHARED}], ids=str)
def test_what_is_shared_imports_no_room(path: Path) -> None:
    """Values and ports know nothing of who uses them."""
    for name in imports(path):
        if name.startswith("gateway."):
            assert name.split(".")[1] in SHARED, f"{path.relative_to(ROOT)} imports {name}"


ONE_PLACE = {
    r"^(etree|lxml\.etree)\.(fromstring|XML|parse|iterparse|XMLParser|HTML)$|^XMLParser$": {"gateway/formats/xml.py"},
    r"^(json|orjson|ujson)\.loads?$|^json\.JSONDecoder$|^msgspec\.json\.(decode|Decoder)$": {"gateway/formats/json.py"},
    r"^yaml\.": {"gateway/formats/yaml.py"},
    r"^httpx\.|^httpcore\.|\.create_connection$|^asyncio\.open_connection$": {"gateway/network.py"},
    r"^h11\.Connection$": {"gateway/connections.py"},
    r"^asyncssh\.": {"gateway/sftp.py"},
    r"^nats\.(?!errors|js)": {"gateway/broker.py"},
    r"load_pem_private_key|load_der_private_key|load_key_and_certificates|load_pkcs12": {"gateway/sign/keys.py"},
    r"^(pickle|marshal|shelve|dill)\.|^eval$|^os\.system$|^subprocess\.": set(),
}
"""Dangerous constructors, and the one file in which each may be called."""

EXCUSED = {
    # simulate/ plays the other side of the wire and is never part of a serving gateway
    ("gateway/simulate/", "httpx"),
    # the demonstration site plays the senders
    ("gateway/commands/", "httpx"),
    ("gateway/commands/site.py", "asyncio.open_connection"),  # plays the sender
}


@pytest.mark.parametrize("pattern", ONE_PLACE, ids=lambda p: p[:30])
def test_dangerous_constructors_stay_in_one_file(pattern: str) -> None:
    """One parser to harden, one key loader to audit, one way out."""
    found = set()
    for path in SOURCES:
        where = str(path.relative_to(ROOT))
        for name, line in calls(path):
            if re.search(pattern, name) and where not in ONE_PLACE[pattern]:
                if any(where.startswith(prefix) and what in name for prefix, what in EXCUSED):
                    continue
                found.add(f"{where}:{line} {name}")
    assert not found


def test_file_servers_are_reached_through_the_network_alone() -> None:
    """SFTP is a file of its own for its length, not a second way out."""
    users = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if "gateway.sftp" in {n.removesuffix(".FileServer") for n in imports(path)}
    }
    assert users == {"gateway/network.py"}


def test_statements_run_only_in_the_store() -> None:
    """There is one ledger and one file format of it."""
    for path in SOURCES:
        if room_of(path) == "store":
            continue
        for name in imports(path):
            assert not name.startswith(("sqlalchemy", "sqlite3", "psycopg")), f"{path.relative_to(ROOT)} imports {name}"


def test_pure_rooms_touch_neither_clock_nor_chance() -> None:
    """map, validate and fhirpath give the same output for the same input and context, for ever."""
    banned = re.compile(r"^(random|secrets|uuid|time)\.|^datetime\.now$|^datetime\.utcnow$|^date\.today$")
    for path in SOURCES:
        if room_of(path) in {"map", "validate", "fhirpath", "formats", "gather"}:
            bad = [f"{n}:{line}" for n, line in calls(path) if banned.search(n)]
            assert not bad, f"{path.relative_to(ROOT)}: {bad}"


def test_broad_except_stands_once() -> None:
    """Only the worker loop may catch everything, and there it parks."""
    found = []
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                if caught == "" or re.search(r"\b(Base)?Exception\b", caught):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert [f.split(":")[0] for f in found] == ["gateway/work.py"]


def test_names_say_what_is_inside() -> None:
    """A module called utils is a room without a purpose."""
    banned = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc"}
    assert not [p for p in SOURCES if p.stem in banned]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length without the docstring."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            end = node.end_lineno or node.lineno
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", end - body[0].lineno + 1


def test_functions_fit_on_a_screen() -> None:
    """Nine in ten within 30 lines, none over 60."""
    lengths = [each for path in SOURCES for each in functions(path)]
    long = [f"{name} {length}" for name, length in lengths if length > 60]
    assert not long
    within = sum(1 for _, length in lengths if length <= 30)
    assert within / len(lengths) >= 0.9


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_stay_under_500_lines(path: Path) -> None:
    """A file that needs scrolling for minutes is two files."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def programmes() -> list[str]:
    return sorted(p.parent.name for p in (ROOT / "mappings").glob("*/programme.toml"))


DEMONSTRATION = ("gateway/simulate/", "gateway/commands/demo", "gateway/commands/tour", "gateway/commands/site.py")


def test_programmes_have_no_names_in_python() -> None:
    """A fifth programme is added by writing files. Stand-ins and protocol files may name their peer."""
    words = re.compile("|".join(map(re.escape, [*programmes(), "behzisti", "chongqing", "medcare"])), re.IGNORECASE)
    protocol_files = {"gateway/deliver/sepas_soap.py"}
    for path in SOURCES:
        where = str(path.relative_to(ROOT))
        if where.startswith(DEMONSTRATION):
            continue
        if where in protocol_files or Path(where).stem.startswith("sepas_"):
            continue
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and words.search(node.value)):
                continue
            if not is_docstring(path, node) and "sepas_" not in node.value:
                pytest.fail(f"{where}:{node.lineno} names a programme: {node.value[:60]!r}")


def is_docstring(path: Path, constant: ast.Constant) -> bool:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and first.value is constant:
                return True
    return False


def test_every_code_that_is_used_is_in_the_table() -> None:
    """A code without a text cannot be shown; a text without a user is dead."""
    from gateway.errors import codes

    used: Counter[str] = Counter()
    pattern = re.compile(r"GW-[A-Z0-9]+-\d+")
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.update(pattern.findall(node.value))
    data = [*(ROOT / "gateway").rglob("*.toml"), *(ROOT / "mappings").rglob("*.toml")]
    for path in data:
        if path.parent.name != "codes":
            used.update(pattern.findall(path.read_text(encoding="utf-8")))
    assert not set(used) - set(codes()), "codes without a row"
    assert not set(codes()) - set(used), "rows that nobody uses"


def test_no_code_stands_in_two_tables() -> None:
    """Codes are permanent: the same number must never mean two things."""
    seen: Counter[str] = Counter()
    for path in (PACKAGE / "codes").glob("*.toml"):
        seen.update(list(tomllib.loads(path.read_text(encoding="utf-8"))))
    assert not [code for code, count in seen.items() if count > 1]


def test_catalogues_are_made_from_the_tables() -> None:
    """What gettext reads is what the tables say, in all four languages."""
    done = subprocess.run([sys.executable, "-m", "gateway.locale.build", "--check"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()


def test_no_private_key_is_in_the_tree() -> None:
    """Keys are made where they are used. The pattern is split so that this file does not match itself."""
    marker = "PRIVATE" + " KEY-----"
    listed = subprocess.run(["git", "grep", "-lI", "-e", f"BEGIN .*{marker}"], cwd=ROOT, capture_output=True, text=True)
    assert listed.stdout == ""


def test_no_container_of_keys_is_in_the_tree() -> None:
    """The forms of keys that no text search sees."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0")
    assert not [f for f in listed if f.endswith((".p12", ".pfx", ".jks", ".key", ".p8")) or f.split("/")[-1] == "core"]


def test_a_crashing_test_leaves_no_memory_behind() -> None:
    """A core dump would hold the private keys that tests make; child processes inherit the limit."""
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    shown = subprocess.run([sys.executable, "-c", _LIMIT], capture_output=True, text=True)
    assert shown.stdout.strip() == "(0, 0)"


_LIMIT = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"


def test_logs_never_take_a_body_or_a_traceback() -> None:
    """Promise 10 begins here: no log call is handed a payload, and no logger prints exceptions."""
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "logger.", "_log.")):
                assert not ast.unparse(node.func).endswith(".exception"), f"{path}:{node.lineno}"
                names = {k.arg for k in node.keywords}
                assert not names & {"body", "payload", "resource", "args", "text", "exc_info"}, f"{path}:{node.lineno}"


def test_lint_and_types_are_clean() -> None:
    """ruff and mypy --strict are part of the tests, so that they cannot be forgotten."""
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "gateway"], ["mypy"]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_every_key_that_is_logged_is_on_the_closed_list() -> None:
    """The list hides what is not on it: a key that is forgotten there makes a warning say nothing."""
    from gateway.desk.log import KEYS

    levels = {"debug", "info", "warning", "error", "critical"}
    missing = set()
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels):
                continue
            if ast.unparse(node.func.value) in {"log", "_log"}:
                missing |= {f"{path.name}: {k.arg}" for k in node.keywords if k.arg and k.arg not in KEYS}
    assert not missing
