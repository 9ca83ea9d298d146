"""Structured logs that cannot carry clinical or identifying text (promise 10).

Only keys from a closed list pass, and only short values made of letters that ids, codes and addresses are made of.
Everything else is replaced by its kind, so a careless call loses information instead of leaking it.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

_WORDS: Final = (
    "event level timestamp id submission item case exchange document attempt answer destination sender programme "
    "state code codes reference kind topic count workers host port seconds number status reason peer channel "
    "address room feed version digest command rows limit bytes path profile protocol error certificate days "
    "inbound step steps origin rules subscription"
)
KEYS: Final = frozenset(_WORDS.split())
"""Keys that may be logged. `error` takes the name of an exception class, never its message."""

_SAFE: Final = re.compile(r"[\x20-\x7e]{0,200}")
_PATHS: Final = frozenset({"path"})


def _shown(key: str, value: Any) -> Any:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_shown(key, each) for each in value[:20]]
    text = str(value)
    return text if _SAFE.fullmatch(text) else f"<{type(value).__name__}>"


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what the closed list names; replace the rest."""
    return {key: _shown(key, value) if key in KEYS else f"<{type(value).__name__}>" for key, value in event.items()}


class _NoForeignText(logging.Filter):
    """Libraries log through the standard library: only where it happened passes, not what they say."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args, record.exc_info, record.exc_text = f"{record.module}.{record.funcName}", (), None, None
        return True


def configure(level: str = "info") -> None:
    """JSON lines on standard error, redacted; foreign loggers reduced to places."""
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_NoForeignText())
    handler.setFormatter(logging.Formatter('{"level": "%(levelname)s", "logger": "%(name)s", "event": "%(message)s"}'))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
