"""Measurements, for ``make bench``: request counts, latencies and ratios of one run. No test asserts a timing."""
