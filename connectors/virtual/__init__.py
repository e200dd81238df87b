"""Decisions for any orchestrator: it reads them, acts, and acknowledges."""
