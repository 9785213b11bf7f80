"""Logs: lines for people, or one JSON object a line. What callers wrote is escaped in both."""

from __future__ import annotations

import copy
import json
import logging
from datetime import UTC, datetime
from typing import Any

from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import DefaultFormatter

from lookalike.data.printable import escape_controls
from lookalike.data.spans import trace_ids
from lookalike.serving.context import current
from lookalike.serving.settings import ServingSettings
from lookalike.serving.telemetry import ACCESS, AUDIT

OURS = ("lookalike.serving", "lookalike.data", "lookalike.tasks")


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the request and snapshot that it belongs to, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of ASCII."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        asked = current()
        if asked is not None:
            line |= {"request_id": asked.id, "snapshot": asked.snapshot}
        line |= trace_ids()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(DefaultFormatter):
    """uvicorn's, with the record's `fields` behind the message, and no way to make up a line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - named by the standard library
        """Return the line of a record."""
        safe = copy.copy(record)
        fields = [f"{name}={value}" for name, value in getattr(record, "fields", {}).items()]
        safe.message = escape_controls(" ".join([record.message, *fields]))
        return super().formatMessage(safe)


def log_config(settings: ServingSettings) -> dict[str, Any]:
    """Return the configuration of all loggers. Audit lines are JSON and are written at every level."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["disable_existing_loggers"] = False
    formatters = config["formatters"]
    formatters["json"] = {"()": JsonFormatter}
    formatters["default"] = formatters["json"] if settings.log_format == "json" else _text(formatters["default"])
    config["handlers"]["audit"] = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    level = settings.log_level.upper()
    loggers = config["loggers"]
    loggers |= {name: {"handlers": ["default"], "level": level, "propagate": False} for name in OURS}
    loggers[ACCESS] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    loggers[AUDIT] = {"handlers": ["audit"], "level": "INFO", "propagate": False}
    return config


def _text(formatter: dict[str, Any]) -> dict[str, Any]:
    return {**formatter, "()": TextFormatter}
