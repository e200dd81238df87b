import pytest

from planner import commands
from planner.cli import parse
from planner.commands import COMMANDS, RUN, Command, build_parser, find
from planner.settings import GROUPS, ConfigurationError, Settings


def paths(choices=COMMANDS, above=()):
    for command in choices:
        yield (*above, command)
        yield from paths(command.below, (*above, command))


def words(path):
    return " ".join(command.name for command in path)


@pytest.mark.parametrize("path", list(paths()), ids=words)
def test_every_command_has_help_and_somewhere_to_go(path):
    command = path[-1]
    text = build_parser(path).format_help()
    assert words(path) in text or command is RUN
    assert bool(command.target) != bool(command.below)
    if command.target:
        assert callable(command.load())


@pytest.mark.parametrize("path", list(paths()), ids=words)
def test_the_flags_of_a_command_are_no_settings(path):
    parser = build_parser((Command(name="alone", summary="x", target="a:b", add_flags=path[-1].add_flags, groups=()),))
    own = {action.dest for action in parser._actions}
    assert not own & set(Settings.model_fields)


def test_every_option_is_in_one_group():
    names = [name for group in GROUPS for name in group.model_fields]
    assert sorted(names) == sorted(Settings.model_fields)


def test_without_a_word_it_runs():
    assert find(["--ttft", "3"]) == ((RUN,), ["--ttft", "3"])
    assert parse([], {}).command is RUN


def test_an_unknown_word_is_told_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"command 'simulat' is unknown; choose from run, check,"):
        parse(["simulat"], {})


@pytest.fixture
def nested(monkeypatch):
    show = Command(name="show", summary="show one", target="planner.checkup:check", groups=())
    folder = Command(name="folder", summary="of the like", below=(show,))
    monkeypatch.setattr(commands.registry, "COMMANDS", (RUN, folder))


@pytest.mark.usefixtures("nested")
def test_a_command_below_another():
    invocation = parse(["folder", "show"], {})
    assert invocation.name == "folder show"
    assert invocation.command.name == "show"
    assert invocation.arguments == ("folder", "show")


@pytest.mark.usefixtures("nested")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["folder"], "command 'folder' needs another word; choose from show"),
        (["folder", "hide"], "command 'folder hide' is unknown; choose from show"),
        (
            ["folder", "show", "--ttft", "3"],
            "unrecognized arguments: --ttft 3; see python -m planner folder show --help",
        ),
    ],
)
def test_what_a_nested_command_line_lacks_is_told(given, told):
    with pytest.raises(ConfigurationError, match=told):
        parse(given, {})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--ttfft=5"], "unrecognized arguments: --ttfft=5; did you mean --ttft?"),
        (["simulate", "--baselin", "hpa", "--tarce", "x"], "unrecognized arguments: --tarce x; did you mean --trace?"),
        (["check", "nonsense"], "unrecognized arguments: nonsense; see python -m planner check --help"),
        (["check", "--xyzzy"], "unrecognized arguments: --xyzzy; see python -m planner check --help"),
    ],
)
def test_a_misspelt_flag_is_told_with_the_one_that_may_be_meant(given, told):
    with pytest.raises(ConfigurationError) as refused:
        parse(given, {})
    assert str(refused.value) == told
