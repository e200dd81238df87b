"""Logging: structured events on the standard library's loggers, so that whoever embeds the planner keeps control."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import structlog

LOG_FILE = "planner.log"
_ROTATE_BYTES = 10 * 1024 * 1024
_ROTATED_FILES = 5

logging.getLogger("planner").addHandler(logging.NullHandler())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A structured logger on the standard library's logger of that name; it changes no global set-up."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return cast(structlog.stdlib.BoundLogger, logger)


@contextmanager
def logging_to(*, level: str, style: str, directory: Path | None) -> Iterator[None]:
    """Show the planner's log on standard error, and in a rotated file, for as long as the context lasts.

    Args:
        level: Least severe level shown, such as ``info``.
        style: ``console``, ``json``, or ``auto``: console on a terminal and json elsewhere.
        directory: Folder for the file, made if need be; None for no file.

    Raises:
        OSError: The file cannot be written.
    """
    human = style == "console" or (style == "auto" and sys.stderr.isatty())
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(
        _formatter(structlog.dev.ConsoleRenderer(colors=_colourful()) if human else structlog.processors.JSONRenderer())
    )
    handlers: list[logging.Handler] = [console]
    if directory is not None:
        handlers.append(_file_handler(directory))
    # Writing happens on the listener's thread: a slow disk or terminal must not hold up the event loop.
    queue: SimpleQueue[Any] = SimpleQueue()
    listener = QueueListener(queue, *handlers)
    front = _Front(queue)
    logger = logging.getLogger("planner")
    logger.setLevel(level.upper())
    logger.addHandler(front)
    propagate, logger.propagate = logger.propagate, False
    listener.start()
    try:
        yield
    finally:
        logger.removeHandler(front)
        logger.propagate = propagate
        listener.stop()
        for handler in handlers:
            handler.close()


def _colourful() -> bool:
    """Whether colours are shown as such: on a terminal, unless its user wants none (https://no-color.org)."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


class _Front(QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Hand the record over as it is: its exception is formatted by the renderer, on the other thread."""
        return record


def _file_handler(directory: Path) -> RotatingFileHandler:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            directory / LOG_FILE, maxBytes=_ROTATE_BYTES, backupCount=_ROTATED_FILES, encoding="utf-8"
        )
    except OSError as error:
        raise OSError(f"--log-dir {directory}: {error.strerror}; give a folder that can be written") from error
    handler.setFormatter(_formatter(structlog.processors.JSONRenderer()))
    return handler


def _formatter(renderer: Any) -> structlog.stdlib.ProcessorFormatter:
    exceptions = [] if isinstance(renderer, structlog.dev.ConsoleRenderer) else [structlog.processors.format_exc_info]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.ExtraAdder(),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
    )
