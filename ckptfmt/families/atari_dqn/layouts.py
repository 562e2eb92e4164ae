"""Layouts whose code is known, as data: how to recognise them by all their names, what is likely of the rest.

A layout never makes a claim about shapes. It says which half of a fused layer is which, whether its streams are
value and advantage, and what is most likely of the rest: the divisor inside the network, the padding. That stays
assumed, since names are copied from project to project while the code around them changes; `writers` says which
others were found for each. It is inferred where the file also holds the config that only this project writes.
"""

import re
from collections.abc import Iterable
from functools import cached_property, lru_cache

from ckptfmt.format.record import record

__all__ = ["LAYOUTS", "Layout", "recognise"]

_NOISY = r"(weight|bias)_(mu|sigma|epsilon)"
_SIGMA = r"(sigma_(weight|bias)|epsilon_(weight|bias|input|output))"
_PLAIN = r"(weight|bias)"
_STREAMS = r"(fc|value_stream|advantage_stream)"
_FACTORS = r"epsilon_(input|output)"


@record(slots=False)
class Layout:
    """A code base's way of naming.

    `names` are the patterns of which every tensor name must match one, `needs` what some names must begin with.
    `writers` are the other projects that were found to write the same names, and what they do otherwise.
    `input_scale` is the likeliest divisor inside the network, None where different networks of these names differ.
    `padding` is the likeliest padding of each convolution, None where it is not known. `streams` is true where two
    streams under these names are value and advantage with every writer. `config` is true where the project keeps a
    config of its own beside the weights, which nobody else writes. `always_support` is true where a
    distributional network of this layout always saves its support. `first_half` is the stream that the first
    rows of a fused hidden layer belong to.
    `hidden` is a hidden size that must be there for the layout to be this one, and with `distributional` a value
    head of more than one row must.
    """

    name: str
    names: tuple[str, ...]
    needs: tuple[str, ...] = ()
    writers: str = ""
    streams: bool = False
    config: bool = False
    input_scale: float | None = None
    padding: tuple[int, ...] | None = None
    always_support: bool = False
    first_half: str = ""
    hidden: int | None = None
    distributional: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern that every name must match."""
        return re.compile("|".join(f"(?:{name})" for name in self.names))


LAYOUTS = (
    Layout(
        "reference",
        (rf"conv\.[0246]\.{_PLAIN}", rf"{_STREAMS}\.[02]\.({_PLAIN}|{_NOISY}|{_FACTORS})", "support"),
        ("conv.0.weight",),
        writers="Hands-On RL (divides by 256 in some chapters, and calls a policy's layers so), KaleabTessera",
        config=True,
        padding=(0, 0, 0, 0),
        always_support=True,
    ),
    Layout(
        "cleanrl",
        (rf"network\.[024]\.{_PLAIN}", rf"network\.[79]\.{_PLAIN}", "atoms"),
        ("network.7.weight", "network.9.weight"),
        writers="its copies, which scale outside, and a PPO whose last row is the state value",
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "cleanrl-rainbow",
        (rf"network\.[024]\.{_PLAIN}", rf"(value|advantage)_head\.[02]\.{_NOISY}", "support"),
        ("value_head.2.weight_mu", "advantage_head.2.weight_mu"),
        writers="copies of the script",
        streams=True,
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "kaixhin",
        (rf"convs\.[024]\.{_PLAIN}", rf"fc_[hz]_[va]\.{_NOISY}"),
        ("convs.0.weight", "fc_z_a.weight_mu"),
        writers="many forks, of other trunks, activations and frames",
        streams=True,
        input_scale=1.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "kaixhin-1.3",
        (rf"conv[123]\.{_PLAIN}", rf"fc_[hz]_[va]\.{_NOISY}"),
        ("conv3.weight", "fc_z_a.weight_mu"),
        writers="the same forks",
        streams=True,
        input_scale=1.0,
        padding=(1, 0, 0),
        distributional=True,
    ),
    Layout(
        "pfrl",
        (rf"conv_layers\.[012]\.{_PLAIN}", rf"[av]_stream\.(hidden_layers\.0|output)\.((mu|sigma)\.)?{_PLAIN}",
         rf"(main|a|v)_stream\.((mu|sigma)\.)?{_PLAIN}"),
        ("a_stream.", "v_stream."),
        writers="ChainerRL, from which it is ported, and forks of both; the activation is an argument",
        streams=True,
        input_scale=1.0,
        padding=(0, 0, 0),
        first_half="advantage",
    ),
    Layout(
        "pfrl-sequential",
        (rf"0\.layers\.[012]\.{_PLAIN}", rf"0\.output\.((mu|sigma)\.)?{_PLAIN}", rf"1\.((mu|sigma)\.)?{_PLAIN}"),
        ("0.layers.0.weight", "0.output."),
        writers="any Sequential of an encoder and a layer of the same attributes",
        input_scale=1.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "tianshou",
        (rf"net\.0\.[024]\.{_PLAIN}", rf"net\.[13]\.{_PLAIN}", "support"),
        ("net.0.0.weight", "net.3.weight"),
        writers="none that is known here, but its wrappers scale inside under one prefix more",
        input_scale=1.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "tianshou-rainbow",
        (rf"net\.[024]\.{_PLAIN}", rf"[QV]\.[02]\.({_PLAIN}|mu_W|sigma_W|mu_bias|sigma_bias|eps_[pq])", "support"),
        ("Q.2.", "net.4.weight"),
        writers="none that is known here, but its wrappers scale inside under one prefix more",
        streams=True,
        distributional=True,
        input_scale=1.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "stable-baselines3",
        (rf"features_extractor\.(cnn\.[024]|linear\.0)\.{_PLAIN}", rf"q_net\.0\.{_PLAIN}"),
        ("features_extractor.linear.0.weight", "q_net.0.weight"),
        writers="its zoo and extensions; normalize_images turns the division off",
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "deep-rl-zoo",
        (rf"body\.net\.[024]\.{_PLAIN}", rf"value_head\.[02]\.{_PLAIN}"),
        ("body.net.0.weight", "value_head.2.weight"),
        writers="none that is known here; its policies have the same trunk",
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "deep-rl-zoo-rainbow",
        (rf"body\.net\.[024]\.{_PLAIN}", rf"(value|advantage)_head\.[02]\.{_NOISY}"),
        ("body.net.0.weight", "value_head.2.weight_mu", "advantage_head.2.weight_mu"),
        writers="none that is known here",
        streams=True,
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "autonomous-learning-library",
        (rf"[135]\.{_PLAIN}", rf"(8|10)\.{_PLAIN}", rf"8\.(value|advantage)_model\.[02]\.({_PLAIN}|{_SIGMA})"),
        ("5.weight", "8."),
        writers="any Sequential of a scaling layer and this trunk",
        streams=True,
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "autonomous-learning-library-nested",
        (rf"0\.[135]\.{_PLAIN}", rf"[13]\.{_PLAIN}", rf"1\.(value|advantage)_model\.[02]\.({_PLAIN}|{_SIGMA})"),
        ("0.5.weight", "1."),
        writers="any nest of two Sequentials",
        streams=True,
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "hands-on-distributional",
        (rf"conv\.[024]\.{_PLAIN}", rf"fc\.[02]\.{_PLAIN}", "supports"),
        ("fc.2.weight", "supports"),
        writers="none that is known here; another edition does not divide",
        input_scale=256.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "hands-on-dueling",
        (rf"conv\.[024]\.{_PLAIN}", rf"fc_(adv|val)\.[02]\.{_PLAIN}"),
        ("fc_adv.2.weight", "fc_val.2.weight"),
        writers="many tutorials that followed it",
        streams=True,
        input_scale=256.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "hands-on-noisy",
        (rf"conv\.[024]\.{_PLAIN}", rf"fc\.[02]\.({_PLAIN}|{_SIGMA})"),
        ("fc.2.sigma_weight",),
        writers="none that is known here; another edition does not divide",
        input_scale=256.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "rl-adventure-noisy",
        (rf"features\.[024]\.{_PLAIN}", rf"noisy(_value|_advantage)?[12]\.{_NOISY}"),
        ("features.0.weight", "noisy"),
        writers="many notebooks copied from it",
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
    Layout(
        "xinjinghao",
        (rf"net\.[024]\.{_PLAIN}", rf"net\.[79]\.{_PLAIN}"),
        ("net.7.weight", "net.9.weight"),
        writers="any Sequential of this trunk; told by its hidden size alone",
        input_scale=255.0,
        padding=(0, 0, 0),
        hidden=200,
    ),
    Layout(
        "xinjinghao-dueling",
        (rf"conv\.[024]\.{_PLAIN}", rf"(fc|A|V)\.{_PLAIN}"),
        ("A.weight", "V.weight", "fc.weight"),
        writers="none that is known here",
        streams=True,
        input_scale=255.0,
        padding=(0, 0, 0),
    ),
)  # fmt: skip


def recognise(names: Iterable[str], hidden: int, rows: int) -> Layout | None:
    """Return the known layout that uses exactly such names, or None.

    `hidden` is the size of the hidden layers, `rows` the rows of the value head or of the only head. A prefix of
    whole words that all names but one (a support beside the network) share is left away.
    """
    return _recognise(tuple(sorted(names)), hidden, rows)


# The same names are asked for by each reading of a file; a run converts files of a few layouts.
@lru_cache(maxsize=256)
def _recognise(names: tuple[str, ...], hidden: int, rows: int) -> Layout | None:
    for bare in _bare(names):
        for layout in LAYOUTS:
            fits = layout.hidden in (None, hidden) and (rows > 1 or not layout.distributional)
            if fits and _matches(layout, bare):
                return layout
    return None


def _matches(layout: Layout, names: tuple[str, ...]) -> bool:
    # The plain texts come first: a pattern is compiled when a layout is likely.
    return all(any(name.startswith(need) for name in names) for need in layout.needs) and all(
        layout.pattern.fullmatch(name) for name in names
    )


def _bare(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The names as they are, then without the first, second, third part that all dotted ones share."""
    found = [names]
    # Wrappers nest: agent, algorithm, network; deeper ones were not seen.
    while len(found) < 4:
        heads = {name.split(".", 1)[0] for name in found[-1] if "." in name}
        if len(heads) != 1:
            break
        prefix = heads.pop() + "."
        found.append(tuple(name.removeprefix(prefix) for name in found[-1]))
    return found
