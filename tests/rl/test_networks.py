"""Wrapped networks and plain ones, each restored into the other."""

import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn
from torch.optim.swa_utils import AveragedModel

import ckptfmt
from ckptfmt.errors import WeightsError
from ckptfmt.rl.networks import named_tensors
from ckptfmt.rl.save import save_model_checkpoint
from ckptfmt.rl.state import TrainingState

from .test_save import make_model

WRAPPED = {
    "plain": lambda net: net,
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "parallel": nn.DataParallel,
    "averaged": AveragedModel,
    "all": lambda net: AveragedModel(torch.compile(nn.DataParallel(net), backend="eager")),
}


def compiled_inside(net):
    net.conv = torch.compile(net.conv, backend="eager")
    return net


WRAPPED["inside"] = compiled_inside
UNUSED = ["optimizer", "schedulers", "generators", "environments", "counters", "replay"]


@pytest.mark.parametrize("into", WRAPPED)
@pytest.mark.parametrize("of", WRAPPED)
def test_a_target_is_restored_whatever_it_is_wrapped_in(of, into, tmp_path):
    model, config = make_model(n_action=3)
    state = TrainingState(target=WRAPPED[of](copy.deepcopy(model)), unused=UNUSED)
    save_model_checkpoint(model, config, None, tmp_path / "a", state=state)
    other = WRAPPED[into](make_model(n_action=3)[0])
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        TrainingState(target=other, unused=UNUSED).restore(checkpoint)
    wanted = model.state_dict()
    found = named_tensors(other)
    assert list(found) == list(wanted)
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_an_average_remembers_how_many_it_is_of(tmp_path):
    model, config = make_model(n_action=3)
    average = AveragedModel(model)
    for _ in range(3):
        average.update_parameters(model)
    save_model_checkpoint(average, config, None, tmp_path / "a", state=TrainingState(target=average))
    other = AveragedModel(make_model(n_action=3)[0])
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        TrainingState(target=other).restore(checkpoint)
    assert int(other.n_averaged) == 3


def test_the_target_of_another_network_is_refused(tmp_path):
    model, config = make_model(n_action=3)
    save_model_checkpoint(model, config, None, tmp_path / "a", state=TrainingState(target=model))
    with ckptfmt.open(tmp_path / "a") as checkpoint, pytest.raises(WeightsError):
        TrainingState(target=nn.DataParallel(make_model(n_action=4)[0])).restore(checkpoint)
