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


@pytest.mark.parametrize(
    "char", ["\x00", "\x7f", "\x9b", "\u2028", "\u2066", "\ud800", "\U000e0001", "\u3164", "\ufe0f", "\U000e0101"]
)
def test_control_direction_surrogate_and_invisible_characters_are_escaped(char):
    assert char not in printable(char)
    assert printable(char).startswith("\\")


def test_letters_that_are_written_from_left_to_right_stay():
    assert printable("Gewicht ü 重み ×") == "Gewicht ü 重み ×"
    assert printable("Trọng số: e\u0302\u0323") == "Trọng số: e\u0302\u0323"


@pytest.mark.parametrize("letter", ["\u05d0", "\u0627", "\u0661"])
def test_what_is_written_from_right_to_left_turns_no_line_around(letter):
    assert printable(f"a {letter} 1") == f"a \\u{ord(letter):04x} 1"


def test_no_pile_of_marks_covers_the_lines_around_it():
    assert printable("a" + "\u0301" * 6 + "b\u0301") == "a" + "\u0301" * 4 + "\\u0301" * 2 + "b\u0301"
    assert printable("\u0301a") == "\\u0301a"


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
