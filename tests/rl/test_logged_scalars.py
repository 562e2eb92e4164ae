import pytest

from ckptfmt.look.scalars import read_scalars

tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="torch or tensorboard is not installed")


def test_the_curves_of_a_real_writer_are_read(tmp_path):
    writer = tensorboard.SummaryWriter(tmp_path)
    for step in (10, 20):
        writer.add_scalar("train/loss", step / 4, step)
    writer.add_text("note", "no number", 10)
    writer.close()
    assert read_scalars(tmp_path) == {"train/loss": [(10, 2.5), (20, 5.0)]}
