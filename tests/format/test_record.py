"""Records: what `dataclasses` gives a frozen class, by shared functions instead of compiled ones."""

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.format.record import record


def both(**options):
    """Return one class as a record and as a frozen dataclass."""

    def make(decorate):
        @decorate
        class Thing:
            """One of them."""

            number: int
            text: str = "t"
            items: list[int] = field(default_factory=list)
            hidden: float = field(default=0.5, repr=False, compare=False)

            @property
            def double(self) -> int:
                return 2 * self.number

        return Thing

    return make(record(**options)), make(dataclass(frozen=True, slots=options.get("slots", True), **options))


@record
class Point:
    """A place."""

    x: int
    y: int = 0


@record(kw_only=True)
class Named(Point):
    """A place with a name."""

    name: str
    marks: tuple[str, ...] = ()


@record(slots=False)
class Kept:
    """One whose instances keep what they compute."""

    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("below zero")


@pytest.mark.parametrize("options", [{}, {"kw_only": True}, {"eq": False}])
def test_a_record_is_built_shown_and_described_as_a_frozen_dataclass_is(options):
    ours, theirs = both(**options)
    assert inspect.signature(ours).parameters.keys() == inspect.signature(theirs).parameters.keys()
    shown = [str(inspect.signature(cls)) for cls in (ours, theirs)]
    assert shown[0] == shown[1]
    assert repr(ours(number=1)) == repr(theirs(number=1))
    assert [f.name for f in dataclasses.fields(ours)] == [f.name for f in dataclasses.fields(theirs)]
    assert dataclasses.asdict(ours(number=3)) == dataclasses.asdict(theirs(number=3))
    assert ours(number=2).double == 4
    assert (ours(number=1) == ours(number=1)) is (theirs(number=1) == theirs(number=1))


@given(st.integers(), st.integers(), st.floats(allow_nan=False))
def test_equality_and_hash_go_by_the_fields_that_are_compared(x, y, hidden):
    ours, _ = both()
    assert (ours(x) == ours(y)) is (x == y)
    assert ours(x, hidden=hidden) == ours(x)
    assert hash(Point(x, y)) == hash(Point(x, y))
    assert Point(x, y) != Named(x, y, name="")
    assert Point(x, y) != (x, y)


@pytest.mark.parametrize("made", [Point(1), Kept(1), Named(1, name="n")])
@pytest.mark.parametrize("name", ["x", "other", "__class__"])
def test_nothing_of_a_record_is_set_or_deleted(made, name):
    with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
        setattr(made, name, 2)
    with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{name}'"):
        delattr(made, name)
    assert made.x == 1


def test_each_instance_has_a_default_of_its_own():
    ours, _ = both()
    assert ours(1).items is not ours(2).items


def test_fields_of_a_base_come_first_and_keywords_last():
    assert repr(Named(1, 2, name="n")) == "Named(x=1, y=2, name='n', marks=())"
    assert dataclasses.replace(Named(1, name="n"), y=5, marks=("m",)) == Named(1, 5, name="n", marks=("m",))
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'name'"):
        Named(1)


def test_a_record_is_checked_where_it_checks_itself():
    with pytest.raises(ValueError, match="below zero"):
        Kept(-1)


@pytest.mark.parametrize("made", [Point(1, 2), Named(1, name="n"), Kept(3)])
def test_a_record_travels_to_another_process_and_is_copied(made):
    assert pickle.loads(pickle.dumps(made)) == copy.copy(made) == copy.deepcopy(made) == made


def test_slots_hold_no_other_attribute_and_a_record_without_them_keeps_what_it_computes():
    assert not hasattr(Point(1), "__dict__")
    assert vars(Kept(1)) == {"x": 1}


def test_a_match_takes_a_record_apart():
    match Point(1, 2):
        case Point(x, y):
            assert (x, y) == (1, 2)
