import struct

from hypothesis import given
from hypothesis import strategies as st

from ckptfmt.look import scalars
from ckptfmt.look.scalars import read_scalars


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def record(message: bytes) -> bytes:
    return struct.pack("<Q", len(message)) + bytes(4) + message + bytes(4)


def event(step: int, name: str, value: float) -> bytes:
    """Return a record as `SummaryWriter.add_scalar` writes it, its checksums left out."""
    told = field(1, name.encode()) + varint(2 << 3 | 5) + struct.pack("<f", value)
    return record(varint(1 << 3 | 1) + bytes(8) + varint(2 << 3) + varint(step) + field(5, field(1, told)))


def session(step: int) -> bytes:
    """Return a record that says that a log begins anew from a step on."""
    return record(varint(2 << 3) + varint(step) + field(7, varint(1 << 3) + varint(1)))


def curves(folder, *files: bytes):
    for number, data in enumerate(files):
        (folder / f"events.out.tfevents.{number}").write_bytes(data)
    return read_scalars(folder)


def test_named_numbers_are_curves_over_the_steps(tmp_path):
    data = event(200, "loss", 0.25) + event(100, "loss", 0.5) + event(100, "return", -21.0)
    assert curves(tmp_path, data) == {"loss": [(100, 0.5), (200, 0.25)], "return": [(100, -21.0)]}


def test_what_a_killed_training_logged_behind_its_last_checkpoint_is_dropped(tmp_path):
    killed = event(1, "loss", 1.0) + event(2, "loss", 2.0) + event(3, "loss", 3.0)
    assert curves(tmp_path, killed, session(2) + event(4, "loss", 4.0)) == {"loss": [(1, 1.0), (4, 4.0)]}


def test_a_file_that_ends_inside_of_a_record_gives_what_stands_before(tmp_path):
    whole = event(1, "loss", 1.0)
    for end in range(len(whole) + 1, 2 * len(whole)):
        assert curves(tmp_path, (whole + event(2, "loss", 2.0))[:end]) == {"loss": [(1, 1.0)]}


def test_numbers_that_are_not_finite_and_steps_below_zero_are_left_out(tmp_path):
    data = event(1, "loss", float("nan")) + event((1 << 64) - 1, "loss", 1.0) + event(2, "loss", 2.0)
    assert curves(tmp_path, data) == {"loss": [(2, 2.0)]}


def test_a_folder_without_logs_has_no_curves(tmp_path):
    assert read_scalars(tmp_path / "none") == {}
    (tmp_path / "other").write_bytes(event(1, "loss", 1.0))
    (tmp_path / "link.tfevents.1").symlink_to(tmp_path / "other")
    assert read_scalars(tmp_path) == {}


def test_only_so_many_curves_points_and_bytes_are_kept(tmp_path, monkeypatch):
    data = b"".join(event(step, f"curve {step % 30}", 1.0) for step in range(30))
    assert len(curves(tmp_path, data)) == scalars._MOST_CURVES
    found = curves(tmp_path, b"".join(event(step, "a", 1.0) for step in range(1000)))
    assert len(found["a"]) == 334
    monkeypatch.setattr(scalars, "_MOST_BYTES", 10 * len(event(1, "a", 1.0)))
    assert len(curves(tmp_path, b"".join(event(step, "a", 1.0) for step in range(100)))["a"]) == 10


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("logs")
    for made in (data, record(data), event(1, "a", 1.0) + record(field(5, field(1, data)))):
        assert all(len(curve) < 200 for curve in curves(folder, made).values())
