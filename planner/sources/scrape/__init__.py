"""A source that reads the frontends' own metrics pages."""

from planner.sources.scrape.source import ScrapeSource

__all__ = ["ScrapeSource"]
