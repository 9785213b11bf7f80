"""What each gateway of one server costs: `python -m tests.benchmarks.gateways`."""
