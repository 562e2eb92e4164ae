"""Every command that looks at a checkpoint speaks of a network of any family."""

import numpy as np
import pytest
from ckptfmt.cli.main import main

import ckptfmt
from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint

from ..look.test_sketch import WORDS


def saved(path, family, seed=0):
    config = registry.find(family).config.from_dict(WORDS[family][0])
    draw = np.random.default_rng(seed)
    shapes = Blueprint.of(config).tensors()
    ckptfmt.save(path, {name: draw.random(shape, np.float32) for name, shape in shapes.items()}, config)
    return str(path)


@pytest.mark.parametrize("family", WORDS)
def test_every_family_is_shown_compared_validated_and_repaired(family, tmp_path, capsys):
    a, b = saved(tmp_path / "a", family), saved(tmp_path / "b", family, 1)
    title = ckptfmt.open(a).manifest.architecture.title
    assert title.startswith(f"{family}/")
    assert main(["inspect", a]) == 0
    shown = capsys.readouterr().out
    assert title in shown.splitlines()[0]
    assert WORDS[family][1] in shown
    assert main(["diff", a, b]) == 1
    assert main(["validate", a, b]) == 0
    assert main(["repair", a]) == 0
    assert "fault" not in capsys.readouterr().err


@pytest.mark.parametrize("family", WORDS)
def test_a_page_tells_of_every_family(family, tmp_path):
    pytest.importorskip("jinja2", reason="jinja2 is not installed")
    a, b = saved(tmp_path / "a", family), saved(tmp_path / "b", family, 1)
    assert main(["report", a, b, "-o", str(tmp_path / "page.html")]) == 0
    assert ckptfmt.open(a).manifest.architecture.title in (tmp_path / "page.html").read_text()


def test_the_families_are_listed_and_each_is_told_whole(ckpt):
    listed = ckpt("families")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines()[1:]] == list(registry.own())
    told = ckpt("families", "quantile-q")
    assert told.out.splitlines()[0] == "quantile-q  Fixed quantiles of the return of each action"
    assert "n_quantiles" in told.out
    document = ckpt("families", "--json").document
    assert [family["name"] for family in document["result"]["families"]] == list(registry.own())
    assert ckpt("families", "none").code == 2
