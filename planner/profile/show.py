"""``python -m planner profile show``."""

from __future__ import annotations

from planner.cli import Invocation
from planner.output import prepare
from planner.profile.page import write_page
from planner.profile.plots import draw_profile
from planner.profile.reading import explaining, named_data, named_settings, target
from planner.profile.tables import decode_sheet, facts, prefill_sheet, print_sheets


@explaining
def show(invocation: Invocation) -> int:
    """Print the profile, and leave its plots and a page."""
    prepare(invocation.extras.output)
    settings = named_settings(invocation)
    data = named_data(invocation)
    engines = data.engines(prefill_gpus=settings.prefill_engine_num_gpu, decode_gpus=settings.decode_engine_num_gpu)
    aim = target(settings)
    sheets = [facts(data, engines, aim), prefill_sheet(data, engines), decode_sheet(data, engines)]
    print_sheets(sheets)
    for warning in engines.warnings:
        print(f"odd: {warning}")  # noqa: T201
    picture, page = invocation.extras.output / "profile.png", invocation.extras.output / "profile.html"
    draw_profile(data, engines, aim, picture)
    write_page(page, data.provenance.model or str(settings.profile_results_dir), sheets, engines.warnings, picture)
    print(f"wrote {picture} and {page}")  # noqa: T201
    return 0
