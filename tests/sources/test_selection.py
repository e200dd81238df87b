"""Which series are ours, told in Python and in PromQL."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.sources.base import SourceError
from planner.sources.mapping import load_mapping
from planner.sources.selection import Selection, select

DYNAMO = load_mapping("dynamo")
VLLM = load_mapping("vllm")
MATCHER = re.compile(r'(?P<label>\w+)(?P<operator>=~|!~|!=|=)"(?P<text>(?:[^"\\\n]|\\["\\n])*)"', re.DOTALL)


def matches(matchers, labels):
    """Whether matchers of PromQL take labels, as Prometheus reads them; a label that is absent is empty."""
    taken = []
    for matcher in matchers:
        label, operator, text = MATCHER.fullmatch(matcher).groups()
        text = re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), text)
        value = labels.get(label, "")
        same = re.fullmatch(text, value) is not None if "~" in operator else value == text
        taken.append(not same if operator.startswith("!") else same)
    return all(taken)


def series(*models, **labels):
    return [{"model": model, **labels} for model in models]


@pytest.mark.parametrize("spelling", ["Qwen/Qwen3-0.6B", "qwen/qwen3-0.6b", "QWEN/QWEN3-0.6B"])
def test_a_model_is_taken_in_any_case(spelling):
    ours = Selection(model="Qwen/qwen3-0.6B")
    assert ours.takes(DYNAMO, {"model": spelling})
    assert matches(ours.matchers(DYNAMO), {"model": spelling})


@pytest.mark.parametrize("other", ["qwen/qwen3-0x6b", "qwen/qwen3-0.6b-fp8", "xqwen/qwen3-0.6b", "", "unknown_model"])
def test_other_models_are_not_taken(other):
    ours = Selection(model="qwen/qwen3-0.6b")
    assert not ours.takes(DYNAMO, {"model": other})
    assert not matches(ours.matchers(DYNAMO), {"model": other})


def test_series_without_the_label_of_a_model_are_not_that_model_s():
    assert not Selection(model="tiny").takes(DYNAMO, {})
    assert not matches(Selection(model="tiny").matchers(DYNAMO), {})


@pytest.mark.parametrize("labels", [{}, {"model": ""}, {"model": "tiny"}, {"model": "huge", "pod": "a"}])
def test_without_a_model_every_model_is_taken(labels):
    assert Selection().takes(DYNAMO, labels)
    assert matches(Selection().matchers(DYNAMO), labels)


def test_a_model_that_is_none_is_never_taken():
    assert not Selection().takes(DYNAMO, {"model": "unknown_model"})
    assert not matches(Selection().matchers(DYNAMO), {"model": "unknown_model"})
    assert Selection().takes(VLLM, {"model_name": "unknown_model"})


def test_ignored_models_are_no_patterns():
    mapping = DYNAMO.model_copy(update={"ignored_models": ("a.c", "x|y", 'q"')})
    for name, taken in [("a.c", False), ("abc", True), ("x|y", False), ("x", True), ('q"', False)]:
        assert Selection().takes(mapping, {"model": name}) is taken
        assert matches(Selection().matchers(mapping), {"model": name}) is taken


def test_nothing_to_choose_needs_no_matchers():
    assert Selection(present=True).matchers(VLLM) == []


def test_the_label_of_the_mapping_is_used():
    ours = Selection(model="tiny")
    assert ours.takes(VLLM, {"model_name": "tiny"})
    assert not ours.takes(VLLM, {"model": "tiny"})
    assert matches(ours.matchers(VLLM), {"model_name": "tiny"})


def test_a_namespace_is_taken_as_it_is_spelt():
    ours = Selection(model="tiny", namespace="blue.1")
    for namespace, taken in [("blue.1", True), ("Blue.1", False), ("blue-1", False), ("blue.10", False), ("", False)]:
        labels = {"model": "tiny", "dynamo_namespace": namespace}
        assert ours.takes(DYNAMO, labels) is taken
        assert matches(ours.matchers(DYNAMO), labels) is taken
    assert not ours.takes(DYNAMO, {"model": "tiny"})


def test_model_and_namespace_must_both_match():
    ours = Selection(model="tiny", namespace="blue")
    assert not ours.takes(DYNAMO, {"model": "huge", "dynamo_namespace": "blue"})
    assert not ours.takes(DYNAMO, {"model": "tiny", "dynamo_namespace": "green"})


NAMES = st.text(string.ascii_letters + string.digits + string.punctuation + " \n", min_size=1, max_size=12)


@given(NAMES, NAMES, NAMES, st.booleans())
def test_matchers_take_what_the_selection_takes(model, namespace, other, swap):
    ours = Selection(model=model, namespace=namespace)
    for name in (model, model.swapcase(), other, model + other):
        labels = {"model": name, "dynamo_namespace": other if swap else namespace}
        assert matches(ours.matchers(DYNAMO), labels) == ours.takes(DYNAMO, labels)


@given(NAMES)
def test_matchers_are_one_line_whatever_the_name(name):
    for matcher in Selection(model=name, namespace=name).matchers(DYNAMO):
        assert "\n" not in matcher
        assert MATCHER.fullmatch(matcher)


def test_the_only_model_is_chosen_and_the_server_is_there():
    chosen = select(DYNAMO, series("tiny", "tiny", "unknown_model"), model_name=None, namespace=None)
    assert chosen == Selection(model="tiny", namespace=None, present=True)


def test_a_server_that_nobody_called_is_there_without_a_model():
    assert select(DYNAMO, [{}], model_name=None, namespace=None) == Selection(present=True)


def test_a_server_with_an_ignored_model_alone_is_there_without_a_model():
    assert select(DYNAMO, series("unknown_model"), model_name=None, namespace=None) == Selection(present=True)


def test_a_named_model_stays_chosen_while_nobody_called_it():
    chosen = select(DYNAMO, [{}], model_name="Tiny", namespace=None)
    assert (chosen.model, chosen.present) == ("Tiny", True)


def test_no_series_is_no_server():
    assert select(DYNAMO, [], model_name="tiny", namespace="blue") == Selection(model="tiny")


def test_a_named_model_is_chosen_among_several():
    chosen = select(DYNAMO, series("tiny", "huge"), model_name="HUGE", namespace=None)
    assert chosen.takes(DYNAMO, {"model": "huge"})
    assert not chosen.takes(DYNAMO, {"model": "tiny"})


def test_spellings_of_one_model_are_all_taken():
    seen = series("Tiny", "tiny", "TINY")
    chosen = select(DYNAMO, seen, model_name=None, namespace=None)
    assert all(chosen.takes(DYNAMO, labels) for labels in seen)


def test_several_models_are_listed_in_order_and_without_the_ignored():
    with pytest.raises(SourceError) as refused:
        select(VLLM, [{"model_name": name} for name in ("b", "a", "c", "a")], model_name=None, namespace=None)
    assert "'a', 'b', 'c'" in str(refused.value)
    assert "model_name" in str(refused.value)
    assert "--model-name" in str(refused.value)


def test_models_of_other_namespaces_are_not_to_choose_from():
    seen = series("tiny", dynamo_namespace="blue") + series("huge", dynamo_namespace="green")
    assert select(DYNAMO, seen, model_name=None, namespace="blue") == Selection(
        model="tiny", namespace="blue", present=True
    )


def test_without_a_namespace_wanted_all_are_ours():
    seen = series("tiny", dynamo_namespace="blue") + series("tiny", dynamo_namespace="green")
    chosen = select(DYNAMO, seen, model_name=None, namespace=None)
    assert all(chosen.takes(DYNAMO, labels) for labels in seen)


def test_an_empty_namespace_label_is_none():
    assert select(DYNAMO, series("tiny", dynamo_namespace=""), model_name=None, namespace="blue").namespace is None


def test_a_mapping_without_a_namespace_label_ignores_the_namespace():
    seen = [{"model_name": "tiny", "dynamo_namespace": "green"}]
    chosen = select(VLLM, seen, model_name=None, namespace="blue")
    assert chosen.namespace is None
    assert chosen.takes(VLLM, seen[0])
