"""Benchmarks: our work and other people's on the same data, side by side in one run.

    python -m benchmarks            everything
    python -m benchmarks 1 4        the rows of these numbers
    python -m benchmarks --short    tiny data, few rounds: does it run

It needs the extra `bench`. Data is made in a temporary folder (`--folder` says where) and removed again.
"""
