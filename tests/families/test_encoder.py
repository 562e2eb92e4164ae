import pytest

from ckptfmt.errors import ManifestError
from ckptfmt.families.encoder import DATA_EFFICIENT, NATURE, NIPS, Conv, Encoder


@pytest.mark.parametrize(
    ("encoder", "shape", "features"),
    [
        (NATURE, (4, 84, 84), 3136),
        (NATURE, (4, 91, 91), 3136),
        (NATURE, (4, 36, 36), 64),
        (NATURE, (4, 128, 128), 9216),
        (NIPS, (4, 84, 84), 2592),
        (DATA_EFFICIENT, (4, 84, 84), 576),
        (Encoder((Conv(8, (3, 5), (1, 2), (1, 2)),)), (1, 10, 10), 400),
    ],
)
def test_feature_size_is_what_the_convolutions_leave(encoder, shape, features):
    assert encoder.feature_size(shape) == features


def test_an_input_smaller_than_the_kernels_is_refused():
    with pytest.raises(ManifestError) as caught:
        NATURE.feature_size((4, 20, 20))
    assert str(caught.value) == "$.config.input_shape: an input of 4×20×20 is too small for these convolutions"


@pytest.mark.parametrize("encoder", [NATURE, NIPS, DATA_EFFICIENT, Encoder((Conv(3, (1, 1), (1, 1)),), "elu")])
def test_an_encoder_comes_back_from_its_manifest_form(encoder):
    assert Encoder.from_dict(encoder.to_dict()) == encoder


def test_a_known_trunk_may_be_named():
    assert Encoder.from_dict("nature") == NATURE
    assert Encoder.from_dict("nature").name == "nature"
    assert Encoder(NATURE.convs[:2]).name == "conv"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            "resnet",
            "$.config.encoder: 'resnet' is no known encoder; use one of nature, nips, data-efficient, "
            "or describe its convolutions",
        ),
        ({"convs": []}, "$.config.encoder.convs: an encoder needs at least one convolution"),
        (
            {"name": "nips", **{k: v for k, v in NATURE.to_dict().items() if k != "name"}},
            "$.config.encoder.name: the encoder is called nips but describes nature",
        ),
        (
            {"convs": [{"channels": 0, "kernel": [1, 1], "stride": [1, 1]}]},
            "$.config.encoder.convs: channels must be a whole number of 1 or more",
        ),
        (
            {"convs": [{"channels": 1, "kernel": [1, 1, 1], "stride": [1, 1]}]},
            "$.config.encoder.convs: kernel must be two numbers, height and width",
        ),
        (
            {"convs": NATURE.to_dict()["convs"], "activation": "step"},
            "$.config.encoder.activation: 'step' is no known activation; "
            "use one of relu, elu, leaky_relu, tanh, gelu, silu",
        ),
        ({"convs": [{"size": 3}]}, "$.config.encoder.convs: a convolution has channels, kernel, stride, padding"),
        ({"convs": NATURE.to_dict()["convs"], "depth": 3}, "$.config.encoder: unknown field depth"),
    ],
)
def test_a_wrong_description_is_refused(data, sentence):
    with pytest.raises(ManifestError) as caught:
        Encoder.from_dict(data)
    assert str(caught.value) == sentence
