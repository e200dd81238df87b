"""What an engine can do: the performance model of prefill and decode."""
