"""Layouts whose code is known."""

import pytest

from ckptfmt.families.atari_dqn.layouts import LAYOUTS, recognise


def names(*stems):
    return [f"{stem}.{part}" for stem in stems for part in ("weight", "bias")]


NOISY = [
    f"fc_{h}_{s}.{p}_{k}" for h in "hz" for s in "va" for p in ("weight", "bias") for k in ("mu", "sigma", "epsilon")
]


@pytest.mark.parametrize(
    ("found", "layout"),
    [
        (names("conv.0", "conv.2", "conv.4", "fc.0", "fc.2"), "reference"),
        ([f"module.{name}" for name in names("conv.0", "conv.2", "conv.4", "fc.0", "fc.2")], "reference"),
        (names("network.0", "network.2", "network.4", "network.7", "network.9"), "cleanrl"),
        ([*names("convs.0", "convs.2", "convs.4"), *NOISY], "kaixhin"),
        ([*names("conv1", "conv2", "conv3"), *NOISY], "kaixhin-1.3"),
        (names("0.layers.0", "0.layers.1", "0.layers.2", "0.output", "1"), "pfrl-sequential"),
        (
            ["support", *names("model.net.0.0", "model.net.0.2", "model.net.0.4", "model.net.1", "model.net.3")],
            "tianshou",
        ),
        (names("conv.0", "conv.2", "conv.4", "fc", "A", "V"), "xinjinghao-dueling"),
    ],
)
def test_a_layout_is_recognised_by_all_its_names(found, layout):
    assert recognise(found, 512, 51).name == layout


def test_one_name_more_is_another_layout():
    assert recognise([*names("conv.0", "conv.2", "fc.0", "fc.2"), "extra"], 512, 6) is None


def test_padding_of_an_old_version_is_not_that_of_its_lookalikes():
    found = [*names("conv1", "conv2", "conv3"), *NOISY]
    assert recognise(found, 512, 51).padding == (1, 0, 0)
    assert recognise(found, 512, 1) is None


def test_a_layout_told_by_its_hidden_size():
    found = names("net.0", "net.2", "net.4", "net.7", "net.9")
    assert recognise(found, 200, 6).input_scale == 255
    assert recognise(found, 512, 6) is None


def test_layouts_have_names_of_their_own():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)
