"""What needs a GPU, measured in one go: `python -m benchmarks.gpu`; see the README beside it."""
