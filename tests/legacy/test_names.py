"""Names of a pickle: three groups, told by exact tables and exact shapes."""

import sys

import pytest

from ckptfmt.legacy.pickle.builders import CALLS
from ckptfmt.legacy.pickle.globals import full_name, group_of, instantiable, well_formed


@pytest.mark.parametrize(
    "module", sorted(sys.stdlib_module_names | {"torch", "numpy", "pip", "setuptools", "distutils"})
)
def test_any_unlisted_name_of_what_is_installed_everywhere_is_refused(module: str) -> None:
    assert group_of(full_name(module, "anything")) == "refused"
    assert group_of(full_name(f"{module}.inner.most", "Anything")) == "refused"


@pytest.mark.parametrize(
    "full",
    [
        "os.system",
        "nt.system",
        "posix.system",
        "builtins.eval",
        "builtins.getattr",
        "operator.attrgetter",
        "functools.partial",
        "copyreg.add_extension",
        "commands.getoutput",
        "urllib2.urlopen",
        "cPickle.loads",
        "test.support.script_helper.assert_python_ok",
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
        "torch.nn.init.normal_",
        "torch.nn.functional.conv2d",
        "torch.nn.modules.linear.linear",
        "torch.optim.os",
        "torch._utils.Linear",
        "torch.utils.data.DataLoader",
        "functorch.compile.x",
        "numpy.load",
        "numpy.f2py.diagnose.run",
        "setuptools.Command",
        "pkg_resources.run_script",
    ],
)
def test_names_that_attacks_used_are_refused(full: str) -> None:
    assert group_of(full_name(*full.rsplit(".", 1))) == "refused"


@pytest.mark.parametrize("full", ["agents.dqn.Agent", "__main__.Agent", "gym.spaces.box.Box", "torchvision.models.x.Y"])
def test_names_of_other_packages_are_foreign(full: str) -> None:
    assert group_of(full) == "placeholder"
    assert instantiable(full, (1, 2))


@pytest.mark.parametrize(
    "full",
    [
        "torch.nn.modules.linear.Linear",
        "torch.nn.modules.container.Sequential",
        "torch.nn.parallel.data_parallel.DataParallel",
        "torch.nn.modules.linear._LinearWithBias",
        "torch.optim.adam.Adam",
        "torch.optim.lr_scheduler.StepLR",
    ],
)
def test_classes_of_networks_and_optimizers_are_made_without_arguments(full: str) -> None:
    assert group_of(full) == "torch-class"
    assert instantiable(full, ())
    assert not instantiable(full, (1,))


def test_what_the_table_calls_is_not_instantiated() -> None:
    assert instantiable("argparse.Namespace", ())
    assert not instantiable("argparse.Namespace", (1,))
    assert [full for full in CALLS if instantiable(full, ())] == ["collections.OrderedDict"]


def test_names_that_moved_are_the_same() -> None:
    assert full_name("__builtin__", "set") == "builtins.set"
    assert full_name("__builtin__", "xrange") == "builtins.range"
    assert full_name("copy_reg", "_reconstructor") == "copyreg._reconstructor"
    assert full_name("numpy.core.multiarray", "scalar") == "numpy._core.multiarray.scalar"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("agents", "Agent."),
        ("agents", "a..b"),
        ("agents", "<locals>.f"),
        ("", "eval"),
        ("os", ""),
        ("os.", "x"),
        (".os", "x"),
        ("a b", "c"),
        ("a", "b\n"),
        ("a" * 400, "b"),
    ],
)
def test_what_no_pickler_writes_is_no_name(module: str, name: str) -> None:
    assert not well_formed(module, name)
    assert well_formed("my-agents.dqn", "Agent")
    assert well_formed("my-agents.dqn", "Agent.Config")


def test_nothing_of_what_is_installed_everywhere_is_instantiated_unless_it_is_listed() -> None:
    assert not instantiable("subprocess.Popen", ())
    assert not instantiable("torch.utils.data.dataset.TensorDataset", ())
