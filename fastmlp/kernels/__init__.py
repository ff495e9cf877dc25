"""Compiled arithmetic: what the engine calls is in `epoch`, `plan` and `pack`; all else serves them."""
