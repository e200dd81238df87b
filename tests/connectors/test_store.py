import asyncio
import errno
import json
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import ConnectorError
from connectors.virtual import EmbeddedStore, VirtualDecision, VirtualState
from connectors.virtual import store as store_module
from planner import Workers

FULL = VirtualState().decide(3, 5, 100.0).complete(0).decide(4, 6, 160.0).report(Workers(3), Workers(4, 1, 2))
VALID = json.dumps({"version": 1, "state": FULL.to_dict()}).encode()

simple = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
any_json = st.recursive(
    simple, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)


def decide(prefill, decode=1, time=0.0):
    return lambda state: state.decide(prefill, decode, time)


def kept(file):
    return VirtualState.from_dict(json.loads(file.read_bytes())["state"])


def aside(file):
    return sorted(path for path in file.parent.iterdir() if path.name.startswith(f"{file.name}.corrupt"))


def picture(folder):
    """Everything below a folder, to see whether it changed."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None) for path in folder.rglob("*")
    }


async def read(file):
    """What a planner that starts with this file finds, and what it warns of."""
    store = EmbeddedStore(file)
    try:
        await store.start()
        return store.state, store.warning
    finally:
        await store.close()


def starts_over_a_file_of(content):
    """Start with a file of that content: it is taken as it is, or kept under another name."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "virtual.json"
        file.write_bytes(content)
        state, warning = asyncio.run(read(file))
        if warning is None:
            assert file.read_bytes() == content
            assert aside(file) == []
        else:
            assert state == VirtualState()
            assert not file.exists()
            assert [path.read_bytes() for path in aside(file)] == [content]
            assert str(file) in warning
            assert aside(file)[0].name in warning
            assert "decisions start anew" in warning
        return state, warning


async def test_without_a_file_the_state_is_kept_in_memory():
    store = EmbeddedStore()
    await store.start()
    await store.update(decide(2))
    assert store.state.decision == VirtualDecision(2, 1, 0)
    await store.close()


async def test_state_survives_a_restart(store, state_file):
    await store.update(decide(3, 5, 100.0))
    await store.update(lambda state: state.complete(0))
    await store.update(decide(4, 6, 160.0))
    await store.update(lambda state: state.report(Workers(3), Workers(4, 1, 2)))
    await store.close()
    assert await read(state_file) == (FULL, None)


async def test_ids_go_on_after_a_restart(store, state_file):
    await store.update(decide(3))
    await store.close()
    again = EmbeddedStore(state_file)
    await again.start()
    assert (await again.update(decide(4))).decision.decision_id == 1
    await again.close()


async def test_starting_twice_is_like_starting_once(store):
    await store.update(decide(3))
    await store.start()
    assert store.state.decision.decision_id == 0


async def test_a_folder_that_is_not_there_is_made(tmp_path):
    assert await read(tmp_path / "a" / "b" / "virtual.json") == (VirtualState(), None)
    assert (tmp_path / "a" / "b").is_dir()


def test_the_example_of_a_good_file_is_good():
    assert starts_over_a_file_of(VALID) == (FULL, None)


@given(st.binary())
@settings(max_examples=60)
def test_a_file_of_any_bytes_ends_nothing(content):
    starts_over_a_file_of(content)


@given(any_json)
@settings(max_examples=60)
def test_a_file_of_any_json_ends_nothing(content):
    starts_over_a_file_of(json.dumps(content).encode())


@given(st.sampled_from(sorted(FULL.to_dict())), any_json)
@settings(max_examples=60)
def test_a_state_with_any_part_replaced_ends_nothing(name, value):
    content = {"version": 1, "state": {**FULL.to_dict(), name: value}}
    starts_over_a_file_of(json.dumps(content).encode())


async def test_a_file_torn_at_any_byte_is_set_aside(tmp_path):
    for length in range(len(VALID)):
        file = tmp_path / str(length) / "virtual.json"
        file.parent.mkdir()
        file.write_bytes(VALID[:length])
        state, warning = await read(file)
        assert state == VirtualState()
        assert "decisions start anew" in warning
        assert [path.read_bytes() for path in aside(file)] == [VALID[:length]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 4096,
        b"null",
        b"[]",
        b"{}",
        b"1",
        b'"virtual"',
        b'{"version": 1}',
        b'{"version": 1, "state": null}',
        b'{"version": 1, "state": []}',
        b'{"version": 1, "state": {}}',
        VALID.replace(b'"version": 1', b'"version": 2'),
        VALID.replace(b'"version": 1', b'"version": null'),
        VALID.replace(b'"scaled_decision_id": 0', b'"scaled_decision_id": 9'),
        VALID + VALID,
        b"[" * 100_000,
        b"9" * 10_000,
    ],
    ids=lambda content: content[:40].decode(),
)
def test_a_file_of_another_shape_is_set_aside(content):
    assert starts_over_a_file_of(content)[1] is not None


async def test_the_warning_tells_what_was_wrong(tmp_path):
    file = tmp_path / "virtual.json"
    file.write_bytes(VALID.replace(b'"version": 1', b'"version": 7'))
    assert "version 7, not 1" in (await read(file))[1]


async def test_corrupt_files_do_not_overwrite_each_other(tmp_path):
    file = tmp_path / "virtual.json"
    contents = [f"corrupt {number}".encode() for number in range(12)]
    for content in contents:
        file.write_bytes(content)
        await read(file)
    assert sorted(path.read_bytes() for path in aside(file)) == sorted(contents)


async def test_after_a_corrupt_file_decisions_are_kept_again(tmp_path):
    file = tmp_path / "virtual.json"
    file.write_bytes(b"corrupt")
    store = EmbeddedStore(file)
    await store.start()
    await store.update(decide(3))
    await store.close()
    state, warning = await read(file)
    assert (state.decision.decision_id, warning) == (0, None)


async def test_what_a_writer_left_half_done_does_no_harm(store, state_file):
    await store.update(decide(3))
    await store.close()
    state_file.with_name(f".{state_file.name}.tmp").write_bytes(b'{"version": 1, "sta')
    state, warning = await read(state_file)
    assert (state.decision.decision_id, warning) == (0, None)


async def test_two_stores_cannot_have_one_file(store, state_file):
    second = EmbeddedStore(state_file)
    with pytest.raises(ConnectorError, match="another planner keeps its state in") as refusal:
        await second.start()
    assert str(state_file) in str(refusal.value)
    await second.close()
    with pytest.raises(ConnectorError):
        await EmbeddedStore(state_file).start()
    await store.close()
    await second.start()
    await second.close()


async def test_two_stores_can_have_files_in_two_folders(store, tmp_path):
    assert await read(tmp_path / "other" / "virtual.json") == (VirtualState(), None)


@pytest.mark.parametrize("below", ["virtual.json", "deeper/virtual.json"])
async def test_a_folder_that_is_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConnectorError, match="set --state-dir") as refusal:
        await read(tmp_path / "file" / below)
    assert str((tmp_path / "file" / below).parent) in str(refusal.value)


async def test_a_file_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "virtual.json").mkdir()
    with pytest.raises(ConnectorError, match="cannot be read"):
        await read(tmp_path / "virtual.json")


async def test_a_failed_write_leaves_the_old_state(store, state_file, monkeypatch):
    old = await store.update(decide(3))

    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_replace", full)
        with pytest.raises(ConnectorError, match=r"cannot be written.*No space left") as refusal:
            await store.update(decide(4))
    assert str(state_file) in str(refusal.value)
    assert store.state == kept(state_file) == old
    assert (await store.update(decide(5))).decision == VirtualDecision(5, 1, 1)
    assert kept(state_file) == store.state


async def test_a_target_that_cannot_be_replaced_leaves_the_old_state(store, state_file):
    state_file.mkdir()
    with pytest.raises(ConnectorError, match="cannot be written"):
        await store.update(decide(3))
    assert store.state == VirtualState()


async def test_a_failed_write_wakes_nobody(store, state_file):
    state_file.mkdir()
    waiter = asyncio.ensure_future(store.changed(store.state))
    with pytest.raises(ConnectorError):
        await store.update(decide(3))
    await asyncio.sleep(0.05)
    assert not waiter.done()
    waiter.cancel()


async def test_a_change_that_raises_leaves_the_old_state(store, state_file):
    old = await store.update(decide(3))
    with pytest.raises(ValueError, match="never made"):
        await store.update(lambda state: state.complete(7))
    assert store.state == kept(state_file) == old


async def test_a_change_that_changes_nothing_writes_nothing(store, state_file):
    await store.update(decide(3))
    before = picture(state_file.parent)
    await store.update(lambda state: state)
    assert picture(state_file.parent) == before


async def test_concurrent_updates_are_one_after_the_other(store, state_file):
    results = await asyncio.gather(*(store.update(decide(number)) for number in range(40)))
    assert sorted(state.decision.decision_id for state in results) == list(range(40))
    assert store.state.decision.decision_id == 39
    assert kept(state_file) == store.state


async def test_cancelling_an_update_that_has_not_begun_changes_nothing(store, state_file):
    task = asyncio.ensure_future(store.update(decide(3)))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert store.state == VirtualState()
    assert not state_file.exists()
    await store.update(decide(4))
    assert kept(state_file) == store.state


async def test_changed_returns_at_once_when_the_state_is_another_already(store):
    old = store.state
    new = await store.update(decide(3))
    assert await asyncio.wait_for(store.changed(old), 1) == new


async def test_a_change_wakes_everybody_who_waits(store):
    waiters = [asyncio.ensure_future(store.changed(store.state)) for _ in range(5)]
    await asyncio.sleep(0)
    new = await store.update(decide(3))
    assert await asyncio.wait_for(asyncio.gather(*waiters), 1) == [new] * 5


async def test_without_a_change_nobody_wakes(store):
    seen = await store.update(decide(3))
    waiter = asyncio.ensure_future(store.changed(seen))
    await store.update(lambda state: state)
    await asyncio.sleep(0.05)
    assert not waiter.done()
    await store.update(decide(4))
    assert (await asyncio.wait_for(waiter, 1)).decision.decision_id == 1


async def test_who_stops_waiting_is_in_nobodys_way(store):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.changed(store.state), 0.02)
    assert (await store.update(decide(3))).decision.decision_id == 0


async def test_closing_without_starting_and_closing_twice_is_fine(state_file):
    store = EmbeddedStore(state_file)
    await store.close()
    await store.start()
    await store.close()
    await store.close()


async def test_check_describes_memory():
    assert await EmbeddedStore().check() == "kept in memory"


async def test_check_describes_a_file_that_is_not_there_yet_and_makes_none(tmp_path):
    file = tmp_path / "a" / "b" / "virtual.json"
    assert await EmbeddedStore(file).check() == f"will be kept in {file}"
    assert picture(tmp_path) == {}


async def test_check_describes_a_good_file_and_leaves_it(tmp_path):
    file = tmp_path / "virtual.json"
    file.write_bytes(VALID)
    before = picture(tmp_path)
    assert await EmbeddedStore(file).check() == f"{file} is at decision 1"
    assert picture(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"corrupt", b"{}", VALID[:-2], b"\xff" * 9])
async def test_check_describes_a_corrupt_file_and_leaves_it(tmp_path, content):
    file = tmp_path / "virtual.json"
    file.write_bytes(content)
    before = picture(tmp_path)
    words = await EmbeddedStore(file).check()
    assert words.startswith(f"{file} is not understood")
    assert words.endswith("it will be set aside")
    assert picture(tmp_path) == before


async def test_check_refuses_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module.os, "access", lambda path, mode: False)
    with pytest.raises(ConnectorError, match="no folder that can be written; set --state-dir") as refusal:
        await EmbeddedStore(tmp_path / "a" / "virtual.json").check()
    assert str(tmp_path) in str(refusal.value)
    assert picture(tmp_path) == {}


async def test_check_says_that_a_planner_runs_and_leaves_its_state(store, state_file):
    await store.update(decide(3))
    before = picture(state_file.parent)
    with pytest.raises(ConnectorError, match="a planner that runs now keeps its state"):
        await EmbeddedStore(state_file).check()
    assert picture(state_file.parent) == before
    assert store.state.decision.decision_id == 0


async def test_check_refuses_what_start_would_refuse(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectorError, match="no folder"):
        await EmbeddedStore(tmp_path / "file" / "virtual.json").check()
    (tmp_path / "virtual.json").mkdir()
    with pytest.raises(ConnectorError, match="is no file"):
        await EmbeddedStore(tmp_path / "virtual.json").check()


@pytest.mark.parametrize("times", [1, 3])
async def test_a_change_cancelled_half_way_leaves_memory_and_file_alike(store, state_file, monkeypatch, times):
    replace = store_module._replace

    def slowly(file, content):
        time.sleep(0.1)
        replace(file, content)

    monkeypatch.setattr(store_module, "_replace", slowly)
    changing = asyncio.ensure_future(store.update(decide(2)))
    for _ in range(times):
        await asyncio.sleep(0.02)
        changing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await changing
    assert kept(state_file) == store.state
    assert (await store.update(decide(7))).decision == VirtualDecision(7, 1, 1)
    assert kept(state_file) == store.state


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state | {"scaled_decision_id": float("inf")},
        lambda state: state | {"decided_at": 10**400},
        lambda state: state | {"decided_at": None},
        lambda state: state | {"completed": [-3, 2]},
        lambda state: state | {"decision": {**state["decision"], "num_decode_workers": -1}},
    ],
)
async def test_numbers_that_make_no_sense_are_never_fatal(state_file, edit):
    state_file.parent.mkdir()
    state_file.write_text(json.dumps({"version": 1, "state": edit(FULL.to_dict())}))
    assert "is not understood" in await EmbeddedStore(state_file).check()
    store = EmbeddedStore(state_file)
    await store.start()
    await store.close()
    assert "is not understood" in store.warning
    assert store.state == VirtualState()
