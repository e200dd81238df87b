import json
import logging

import pytest

from planner.log import LOG_FILE, get_logger, logging_to

log = get_logger("planner.test")


def test_json_lines_with_level_time_and_fields(capsys):
    with logging_to(level="info", style="json", directory=None):
        log.info("it happened", prefill=3)
        log.debug("too small to mention")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert entry["event"] == "it happened"
    assert entry["prefill"] == 3
    assert entry["level"] == "info"
    assert entry["timestamp"].endswith("Z")
    assert entry["logger"] == "planner.test"


@pytest.mark.parametrize("style", ["json", "console"])
def test_exceptions_are_shown(capsys, style):
    with logging_to(level="info", style=style, directory=None):
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            log.exception("it failed")
    text = capsys.readouterr().err
    assert "it failed" in text
    assert "ZeroDivisionError" in text


def test_a_file_beside_the_console(tmp_path, capsys):
    directory = tmp_path / "logs" / "deep"
    with logging_to(level="info", style="console", directory=directory):
        log.warning("look", detail="here")
    assert "look" in capsys.readouterr().err
    assert json.loads((directory / LOG_FILE).read_text())["detail"] == "here"


def test_an_embedded_planner_prints_nothing(capsys):
    log.info("quiet")
    log.error("quiet too")
    assert capsys.readouterr() == ("", "")


def test_logging_is_given_back(capsys):
    before = list(logging.getLogger("planner").handlers)
    with logging_to(level="info", style="json", directory=None):
        pass
    assert logging.getLogger("planner").handlers == before
    assert logging.getLogger("planner").propagate
    assert not logging.getLogger().handlers or all(
        handler.__class__.__module__.startswith("_pytest") for handler in logging.getLogger().handlers
    )
    log.info("after")
    assert capsys.readouterr().err == ""


def test_a_folder_that_cannot_be_had_is_told_with_its_option(tmp_path):
    (tmp_path / "taken").write_text("")
    with (
        pytest.raises(OSError, match=r"--log-dir .*taken: File exists; give a folder that can be written"),
        logging_to(level="info", style="json", directory=tmp_path / "taken"),
    ):
        pass


def test_a_console_that_is_no_terminal_gets_no_colours(capsys):
    with logging_to(level="info", style="console", directory=None):
        log.warning("look", detail="here")
    shown = capsys.readouterr().err
    assert "look" in shown
    assert "\x1b" not in shown
