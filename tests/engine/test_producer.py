import itertools

import pytest
import torch

from presence.engine.producer import _produce, produced_batches
from presence.structures import Camera, Portrait, TrainSample, View
from presence.testing.toy_bodies import SphereBody


class Numbered:
    """Batches whose subjects are their own step, rank and world."""

    def batch(self, step, batch_size, device, rank=0, world=1):
        if step == 13:
            raise ValueError("a broken source")
        portrait = Portrait(
            torch.full((batch_size, 3, 2, 2), float(step)), torch.ones(batch_size, 1, 2, 2)
        )
        body = SphereBody(2, 3).default_params((batch_size,))
        camera = Camera(
            torch.eye(3).expand(batch_size, 3, 3), torch.eye(4).expand(batch_size, 4, 4), 2, 2
        )
        view = View(portrait, body, camera)
        subject = torch.full((batch_size,), step * world + rank)
        return TrainSample(view, view, subject)


def test_another_process_makes_the_same_batches_in_order():
    batches = produced_batches(Numbered(), 2, torch.device("cpu"), 1, 3, start=5)
    got = list(itertools.islice(batches, 4))
    batches.close()
    assert [b.subject.tolist() for b in got] == [[s * 3 + 1] * 2 for s in (5, 6, 7, 8)]
    assert got[2].reference.portrait.rgb.unique().tolist() == [7.0]


def test_a_source_that_fails_ends_the_stream_with_an_error():
    batches = produced_batches(Numbered(), 1, torch.device("cpu"), 0, 1, start=13)
    with pytest.raises(RuntimeError, match="ended"):
        next(batches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_may_be_named_without_its_number():
    batches = produced_batches(Numbered(), 1, torch.device("cuda"), 0, 1, start=2)
    got = next(batches)
    batches.close()
    assert got.subject.tolist() == [2]


def test_the_process_takes_the_first_gpu_where_none_is_numbered(monkeypatch):
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    for name in ("cuda", "cuda:1"):
        with pytest.raises(ValueError, match="broken"):
            _produce(Numbered(), 1, torch.device(name), 0, 1, 13, None)
    assert taken == [0, 1]
