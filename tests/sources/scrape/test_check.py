"""What ``check`` says of the pages."""

from __future__ import annotations

from planner.finding import Health
from tests.sources.scrape.frontends import DYNAMO, HERE, answer


async def test_check_finds_a_frontend_in_service_to_be_well(rig):
    at = await rig()
    at.pages[0].serve(1)
    findings = await at.source.check()
    assert {finding.health for finding in findings} == {Health.OK}
    assert {f"metric {field}" for field in DYNAMO.fields()} <= {finding.subject for finding in findings}


async def test_check_warns_of_what_no_page_has(rig):
    at = await rig("0.9")
    at.pages[0].serve(1)
    lacking = [finding for finding in await at.source.check() if finding.health is not Health.OK]
    assert [(finding.subject, finding.health) for finding in lacking] == [("metric requests_started", Health.WARNING)]
    assert lacking[0].remedy


async def test_check_tells_what_is_wrong_with_a_page_and_what_to_do(rig):
    at = await rig()
    at.pages[0].fault = answer("<html>")
    finding = (await at.source.check())[0]
    assert finding.health is Health.FAILED
    assert "--metrics-preset" in finding.detail
    assert "--frontend-metrics-url" in finding.remedy


async def test_check_looks_for_no_series_where_no_page_can_be_read(rig):
    at = await rig()
    at.pages[0].fault = answer("<html>")
    assert [finding.subject for finding in await at.source.check()] == ["frontend"]


async def test_check_lists_models_where_there_are_several(rig):
    at = await rig()
    at.pages[0].text = HERE + "".join(f'dynamo_frontend_queued_requests{{model="{name}"}} 1\n' for name in ("b", "a"))
    failed = [finding for finding in await at.source.check() if finding.health is Health.FAILED]
    assert len(failed) == 1
    assert "'a', 'b'" in failed[0].detail


async def test_check_does_not_take_from_the_next_observation(rig):
    at = await rig()
    at.pages[0].serve(5)
    await at.source.check()
    assert (await at.tick()).requests_started == 5
