"""Strides, paddings and screens that weights do not show."""

import pytest

from ckptfmt.families.atari_dqn.trunk import TrunkUnknown, infer
from ckptfmt.families.encoder import DATA_EFFICIENT, NATURE, NIPS

NATURE_SHAPES = ((32, 4, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3))


@pytest.mark.parametrize(
    ("shapes", "features", "encoder", "screen"),
    [
        (NATURE_SHAPES, 3136, NATURE, (4, 84, 84)),
        (NATURE_SHAPES, 64, NATURE, (4, 36, 36)),
        (NATURE_SHAPES, 9216, NATURE, (4, 128, 128)),
        (NATURE_SHAPES, 50176, NATURE, (4, 256, 256)),
        (NATURE_SHAPES, 22 * 16 * 64, NATURE, (4, 210, 160)),
        (((16, 1, 8, 8), (32, 16, 4, 4)), 2592, NIPS, (1, 84, 84)),
        (((32, 4, 5, 5), (64, 32, 5, 5)), 576, DATA_EFFICIENT, (4, 84, 84)),
    ],
)
def test_known_trunks_are_told_by_their_kernels(shapes, features, encoder, screen):
    trunk = infer(shapes, features)
    assert trunk.encoder == encoder
    assert trunk.input_shape == screen
    assert trunk.shape_origin == trunk.encoder_origin == "assumed"
    assert trunk.encoder.feature_size(trunk.input_shape) == features


def test_names_of_a_known_layout_make_its_padding_the_likeliest():
    trunk = infer(NATURE_SHAPES, 3136, padding=(1, 0, 0))
    assert [conv.padding for conv in trunk.encoder.convs] == [(1, 1), (0, 0), (0, 0)]
    assert trunk.encoder_origin == "assumed"


def test_the_code_that_wrote_a_file_settles_its_padding():
    assert infer(NATURE_SHAPES, 3136, padding=(0, 0, 0), settled=True).encoder_origin == "inferred"


def test_a_screen_that_only_pooling_explains_is_not_guessed():
    with pytest.raises(TrunkUnknown) as e:
        infer(NATURE_SHAPES, 25 * 64)
    assert str(e.value) == (
        "the map of 25 positions that the linear layer takes comes from an unusual screen, 68×68 to 75×75, or from "
        "another one and pooling between the convolutions, which weights do not show"
    )


def test_a_known_layout_does_not_settle_a_padding_that_another_one_explains_better():
    with pytest.raises(TrunkUnknown) as e:
        infer(NATURE_SHAPES, 6400, padding=(0, 0, 0))
    assert str(e.value) == "a map of 100 positions fits padding 0, 1, 1 on 84×84 and padding 0, 0, 0 on 110×110"


def test_a_given_screen_tells_padding_from_none():
    assert infer(NATURE_SHAPES, 6400, shape=(4, 110, 110)).encoder == NATURE
    assert infer(NATURE_SHAPES, 3136, shape=(4, 91, 91)).shape_origin == "given"


def test_a_screen_that_does_not_fit_a_known_layout_is_refused():
    assert infer(NATURE_SHAPES, 3136, shape=(4, 64, 64)).encoder.convs[1].padding == (1, 1)
    with pytest.raises(TrunkUnknown) as e:
        infer(NATURE_SHAPES, 3136, shape=(4, 64, 64), padding=(0, 0, 0))
    assert str(e.value) == (
        "the usual strides do not make the map of 49 positions that the linear layer takes from a screen of 64×64; "
        "there may be pooling between the convolutions, which weights do not show"
    )


def test_strides_of_unknown_kernels_are_told_only_when_one_combination_fits():
    shapes = ((32, 4, 3, 3), (32, 32, 3, 3), (32, 32, 3, 3))
    trunk = infer(shapes, 32 * 81, shape=(4, 84, 84))
    assert [conv.stride[0] for conv in trunk.encoder.convs] == [2, 2, 2]
    assert trunk.encoder_origin == "assumed"
    with pytest.raises(TrunkUnknown, match=r"^no known encoder has convolutions with kernels of 3, 3, 3 pixels$"):
        infer(shapes, 32 * 81)
    with pytest.raises(TrunkUnknown, match="combinations of usual strides"):
        infer(((16, 4, 5, 5), (32, 16, 5, 5), (32, 32, 5, 5)), 32 * 49, shape=(4, 84, 84))


def test_the_first_trunk_of_the_reference_project_is_known():
    shapes = ((32, 4, 16, 16), (32, 32, 4, 4), (64, 32, 4, 4), (64, 64, 3, 3))
    trunk = infer(shapes, 16 * 64)
    assert [conv.stride[0] for conv in trunk.encoder.convs] == [8, 2, 2, 1]
    assert (trunk.encoder.feature_size((4, 256, 256)), trunk.encoder_origin) == (16 * 64, "assumed")


def test_known_windows_are_taken_as_they_are():
    trunk = infer(NATURE_SHAPES, 6400, windows=[(4, 2), (2, 1), (1, 1)], activation="elu")
    assert [(conv.stride[0], conv.padding[0]) for conv in trunk.encoder.convs] == [(4, 2), (2, 1), (1, 1)]
    assert (trunk.input_shape, trunk.encoder_origin, trunk.encoder.activation) == ((4, 84, 84), "inferred", "elu")


@pytest.mark.parametrize(
    ("shapes", "features", "sentence"),
    [
        (((32, 4, 8, 4), (64, 32, 4, 4)), 3136, "a convolution has a kernel that is not square"),
        (NATURE_SHAPES, 3137, "the first linear layer takes 3137 features, no multiple of the 64 channels before it"),
    ],
)
def test_what_is_no_trunk_is_said(shapes, features, sentence):
    with pytest.raises(TrunkUnknown) as e:
        infer(shapes, features)
    assert str(e.value) == sentence
