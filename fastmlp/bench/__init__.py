"""Benchmarks shared by ``fastmlp bench`` and ``benchmarks/``: problems, peers, timings."""
