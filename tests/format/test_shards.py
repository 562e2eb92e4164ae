import pytest

from ckptfmt.format.shards import is_data_file, parse_shard, plain_name, shard_name, together, unfit_names

FIRST, SECOND = "weights-00001-of-00002.safetensors", "weights-00002-of-00002.safetensors"


def test_a_name_says_which_part_of_which_file_it_is():
    assert shard_name("state.safetensors", 3, 12) == "state-00003-of-00012.safetensors"
    found = parse_shard("state-00003-of-00012.safetensors")
    assert (found.file, found.number, found.count) == ("state.safetensors", 3, 12)
    assert plain_name(FIRST) == plain_name("weights.safetensors") == "weights.safetensors"


@pytest.mark.parametrize(
    "name",
    [
        "weights-00000-of-00002.safetensors",
        "weights-00003-of-00002.safetensors",
        "weights-1-of-2.safetensors",
        "model-00001-of-00002.safetensors",
        f"{FIRST}\n",
        f"../{FIRST}",
        "weights-٠٠٠٠١-of-٠٠٠٠٢.safetensors",
    ],
)
def test_what_is_no_such_name_is_no_data_file(name):
    assert parse_shard(name) is None
    assert not is_data_file(name)
    assert not is_data_file(f"{name}.zst")


def test_a_part_may_be_compressed():
    assert is_data_file(f"{FIRST}.zst")
    assert not is_data_file(f"{FIRST}.zst.zst")


@pytest.mark.parametrize(("number", "count"), [(0, 2), (3, 2), (1, 100_000)])
def test_a_part_beyond_all_is_none(number, count):
    with pytest.raises(ValueError, match=f"there is no part {number} of {count}"):
        shard_name("weights.safetensors", number, count)


def test_parts_stand_together_in_their_order():
    names = ["replay.safetensors", SECOND, FIRST]
    assert together(names) == {"weights.safetensors": [FIRST, SECOND], "replay.safetensors": ["replay.safetensors"]}
    assert list(unfit_names(names)) == []


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([FIRST, SECOND, "weights.safetensors"], "hold weights.safetensors whole and in parts"),
        ([FIRST, "weights-00001-of-00003.safetensors"], "hold weights.safetensors in 2 and in 3 parts"),
        ([SECOND], f"hold 1 of the 2 parts of weights.safetensors, {FIRST} is missing"),
    ],
)
def test_parts_that_do_not_make_a_whole_are_told(names, sentence):
    assert list(unfit_names(names)) == [sentence]
