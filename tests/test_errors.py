import pytest

from ckptfmt.errors import CkptError, NotACheckpoint, Problem, TargetExists, WeightsError, printable


def test_error_is_one_line_of_where_what_and_mend():
    error = CkptError("exists already", where="out", fix="choose another folder")
    assert str(error) == "out: exists already; choose another folder"


def test_error_without_place_or_mend_is_what_alone():
    assert str(CkptError("went wrong")) == "went wrong"


def test_foreign_text_cannot_reach_the_terminal_raw():
    error = WeightsError("tensor \x1b]0;owned\x07 \u202e\r\n", where="a\nb")
    assert str(error) == "a\\x0ab: tensor \\x1b]0;owned\\x07 \\u202e\\x0d\\x0a"


@pytest.mark.parametrize("char", ["\x00", "\x7f", "\x9b", "\u2028", "\u2066", "\ud800", "\U000e0001"])
def test_control_direction_and_surrogate_characters_are_escaped(char):
    assert char not in printable(char)
    assert printable(char).startswith("\\")


def test_letters_of_every_script_stay():
    assert printable("Gewicht ü 重み ×") == "Gewicht ü 重み ×"


def test_long_text_is_cut():
    assert printable("x" * 500, 10) == "xxxxxxxxx…"


def test_errors_are_also_the_builtin_a_caller_would_catch():
    with pytest.raises(FileNotFoundError):
        raise NotACheckpoint("not a checkpoint", where="x")
    with pytest.raises(FileExistsError):
        raise TargetExists("exists", where="x")
    with pytest.raises(ValueError, match=r"^bad$"):
        raise WeightsError("bad")


def test_error_as_data_keeps_its_code():
    error = WeightsError("bad", where="w", fix="f", code="weights.size")
    assert error.to_dict() == {"code": "weights.size", "what": "bad", "where": "w", "fix": "f"}
    assert WeightsError("bad").code == "weights.header"


def test_problem_as_data():
    problem = Problem("weights.shape", "conv.0.weight", "differs", severity="warning")
    assert problem.to_dict() == {
        "code": "weights.shape",
        "severity": "warning",
        "where": "conv.0.weight",
        "message": "differs",
        "fix": "",
    }
