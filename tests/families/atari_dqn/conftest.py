"""Shapes of networks to tell apart, and the generator of them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(scope="session")
def space() -> ModuleType:
    """The generator in generate.py, which is a script as well."""
    path = Path(__file__).with_name("generate.py")
    spec = importlib.util.spec_from_file_location("generated_space", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _convs() -> Shapes:
    return {
        "conv.0.weight": (32, 4, 8, 8), "conv.0.bias": (32,),
        "conv.2.weight": (64, 32, 4, 4), "conv.2.bias": (64,),
        "conv.4.weight": (64, 64, 3, 3), "conv.4.bias": (64,),
    }  # fmt: skip


def _layer(stem: str, out: int, size: int, noisy: bool) -> Shapes:
    if not noisy:
        return {f"{stem}.weight": (out, size), f"{stem}.bias": (out,)}
    return {
        f"{stem}.weight_mu": (out, size), f"{stem}.weight_sigma": (out, size),
        f"{stem}.bias_mu": (out,), f"{stem}.bias_sigma": (out,),
        f"{stem}.epsilon_input": (size,), f"{stem}.epsilon_output": (out,),
    }  # fmt: skip


@pytest.fixture
def reference():
    """Return the shapes of one of the eight architectures as the reference project names them."""

    def build(architecture: str, n_action: int = 6, n_atoms: int = 51, features: int = 3136) -> Shapes:
        noisy = "noisy" in architecture
        atoms = n_atoms if "distributional" in architecture else 1
        shapes = {"support": (atoms,)} if atoms > 1 else {}
        shapes |= _convs()
        streams = {"fc": n_action * atoms}
        if "dueling" in architecture:
            streams = {"value_stream": atoms, "advantage_stream": n_action * atoms}
        for stem, rows in streams.items():
            shapes |= _layer(f"{stem}.0", 512, features, noisy) | _layer(f"{stem}.2", rows, 512, noisy)
        return shapes

    return build


@pytest.fixture
def support():
    """Return the values of a support of 51 atoms from -10 to 10, for any name."""
    return lambda name: [-10 + 0.4 * i for i in range(51)]
