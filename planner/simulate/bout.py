"""A contest as its user watches it: everyone on the same arrivals, with progress, until all have ended or Ctrl-C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from planner.settings import NO_BUDGET, Settings
from planner.simulate.contest import Conditions, Contest, Entry, compete, limits_of, wanted_share
from planner.simulate.crew import Crew, results, until_over
from planner.simulate.document import Outcome
from planner.simulate.static import NotAttainedError, Size, smallest_static
from planner.simulate.survey import Survey
from planner.simulate.table import held_back, own_targets, size_name, tried
from planner.simulate.watch import Ends, bars
from planner.simulation.loop import Run
from planner.simulation.score import Score


class Bout:
    """One contest: everyone on the same arrivals, then the search for the smallest static pool.

    Attributes:
        given_up: Names of runs that Ctrl-C ended before their time.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        conditions: Conditions,
        seen: Survey,
        notes: Sequence[str],
        entries: Sequence[Entry],
        smallest_from: Size | None,
        processes: int | None,
        console: Console,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            settings: What the static pool is scored by, and the budget.
            conditions: What all go through.
            seen: What will arrive.
            notes: What to keep in mind already, a sentence each.
            entries: Who takes part.
            smallest_from: Where to begin to look for the smallest static pool; None to look for none.
            processes: Runs at a time; None for as many as there are cores that this process may use.
            console: Where progress is shown.
        """
        self._settings, self._conditions, self._seen = settings, conditions, seen
        self._entries = {entry.name: entry for entry in entries}
        self._smallest_from = smallest_from
        self._processes, self._console = processes, console
        self._runs: dict[str, Run] = {}
        self._tried: Mapping[Size, float] = {}
        self._notes = [*notes, *own_targets(entries, settings)]
        if seen.trace and seen.trace.complaint:
            self._notes.append(f"{seen.trace.complaint}.")
        if seen.length_s < settings.adjustment_interval:
            self._notes.append(
                f"All is over after {seen.length_s:.3g} s, before the first adjustment at "
                f"{settings.adjustment_interval:g} s: nobody decided anything."
                + (" Timestamps that are numbers are in ms." if seen.trace else "")
            )
        self.given_up: list[str] = []

    def go(self) -> Outcome:
        """Let everyone run.

        Raises:
            KeyboardInterrupt: Ctrl-C, before any run had ended.
        """
        try:
            self._compete()
            if self._smallest_from is not None:
                self._find_smallest(self._smallest_from)
        except KeyboardInterrupt:
            self.given_up = [name for name in self._entries if name not in self._runs]
            if self._smallest_from is not None and not self._tried:
                self.given_up.append("static")
            if not self._runs:
                raise
            self._notes.append(f"Stopped before these had ended: {'; '.join(self.given_up)}.")
        if self._settings.max_gpu_budget != NO_BUDGET:
            self._notes += held_back(self._runs, self._settings.max_gpu_budget)
        return Outcome(
            settings=self._settings,
            conditions=self._conditions,
            seen=self._seen,
            entries=self._entries,
            runs=self._runs,
            tried=self._tried,
            notes=self._notes,
        )

    def _compete(self) -> None:
        entries = list(self._entries.values())
        contest = Contest(entries, self._conditions, processes=self._processes)
        ends = Ends(self._console)
        with bars(self._console) as progress, contest as futures:
            rows = [progress.add_task(entry.name, total=self._seen.requests) for entry in entries]
            try:
                for _ in until_over(futures.values()):
                    for index, row in enumerate(rows):
                        progress.update(row, completed=contest.seen(index))
                    ends.tell(results(futures))
            finally:
                self._runs |= results(futures)
                ends.tell(self._runs)

    def _find_smallest(self, start: Size) -> None:
        settings = self._settings
        wanted = wanted_share(settings)
        runs: dict[Size, Run] = {}
        ends = Ends(self._console)
        with bars(self._console) as progress, Crew(2, processes=self._processes) as crew:

            def try_out(sizes: Sequence[Size]) -> Sequence[Score]:
                entries = [Entry(name="static", kind="static", settings=settings, workers=size) for size in sizes]
                futures = [crew.submit(at, compete, entry, self._conditions) for at, entry in enumerate(entries)]
                rows = [progress.add_task(f"static {size_name(size)}", total=self._seen.requests) for size in sizes]
                for _ in until_over(futures):
                    for at, row in enumerate(rows):
                        progress.update(row, completed=crew.progress(at))
                for size, future, row in zip(sizes, futures, rows, strict=True):
                    runs[size] = future.result()
                    share = runs[size].score.within_both
                    said = f"static {size_name(size)}: {share:.2%}{'' if share >= wanted else ', too few'}"
                    progress.update(row, completed=self._seen.requests, description=said)
                    ends.tell([said])
                return [runs[size].score for size in sizes]

            try:
                found = smallest_static(try_out, wanted, start, limits_of(settings))
            except NotAttainedError as error:
                self._notes.append(f"{error}.")
                return
        self._tried = found.tried
        self._notes.append(tried(found, wanted))
        name = f"static {size_name(found.size)}"
        self._entries[name] = Entry(name=name, kind="static", settings=settings, workers=found.size)
        self._runs[name] = runs[found.size]
