"""Seeds, settings, learning rate, optimiser groups, weight average and loaders, one by one."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from presence.engine.data import (
    BatchLoader,
    IndexLoader,
    StepBatchSampler,
    build_loader,
    fixed_batches,
)
from presence.engine.distributed import pick_device, start_process
from presence.engine.ema import WeightAverage
from presence.engine.loops import total_loss
from presence.engine.optim import (
    PrecisionOptimWrapper,
    build_optimizer,
    rate_factor,
    set_learning_rate,
)
from presence.engine.seed import mix, seed_everything
from presence.engine.settings import Ema, Optimizer, Schedule, TrainSettings
from presence.errors import ConfigError
from presence.testing.toy_training import ToyPeople

CPU = torch.device("cpu")


def _draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_one_call_seeds_everything():
    seed_everything(3, rank=1, step=7)
    first = _draw()
    _draw()
    seed_everything(3, rank=1, step=7)
    assert _draw() == first
    for other in ((4, 1, 7), (3, 0, 7), (3, 1, 8), (3, 1, None)):
        seed_everything(*other)
        assert _draw() != first


def test_mixed_seeds_do_not_collide():
    seen = {mix(a, b, c) for a in range(10) for b in range(10) for c in range(-1, 200)}
    assert len(seen) == 10 * 10 * 201
    assert all(0 <= value < 2**63 for value in seen)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (dict(shedule={}), "config has no key `shedule`. Did you mean `schedule`?"),
        (dict(schedule=dict(iters=3)), "config section `schedule` has no key `iters`."),
        (dict(optimizer=dict(weight_decy=0)), "Did you mean `weight_decay`?"),
        (dict(schedule=dict(shape="cosin")), "`schedule.shape` cannot be 'cosin'"),
        (dict(precision="fp16"), "`precision` cannot be 'fp16'"),
        (dict(ema=dict(decay=1.0)), "`ema.decay` cannot be 1.0"),
    ],
)
def test_settings_name_what_is_wrong(config, said):
    with pytest.raises(ConfigError) as error:
        TrainSettings.from_config(config)
    assert said in str(error.value)


def test_settings_keep_defaults_and_accept_null_sections():
    settings = TrainSettings.from_config(dict(ema=None, schedule=dict(iterations=7), model={}))
    assert settings.ema == Ema() and settings.schedule == Schedule(iterations=7)


def test_the_rate_warms_up_and_falls():
    schedule = Schedule(iterations=1000, warmup=100, final_ratio=0.1)
    factors = [rate_factor(step, schedule) for step in range(1000)]
    np.testing.assert_allclose(factors[:100], np.arange(1, 101) / 100)
    assert factors[99] == max(factors) == 1.0
    assert factors[-1] == pytest.approx(0.1)
    middle = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 450 / 900))
    assert factors[549] == pytest.approx(middle)
    assert all(a > b for a, b in itertools.pairwise(factors[99:]))
    linear = Schedule(iterations=1000, warmup=0, shape="linear", final_ratio=0.0)
    assert rate_factor(499, linear) == pytest.approx(0.5)
    assert rate_factor(999, Schedule(iterations=1000, shape="constant")) == 1.0


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 4)
        self.decoder = nn.Linear(4, 2)
        self.norm = nn.LayerNorm(2)
        self.mask_token = nn.Parameter(torch.zeros(1, 2))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)

    def forward(self, x):
        return self.norm(self.decoder(self.encoder(x))) + self.mask_token


def test_only_matrices_decay_and_prefixes_scale_the_rate():
    net = _Net()
    optimizer = build_optimizer(
        net, Optimizer(lr=0.5, weight_decay=0.1, lr_scale={"encoder.": 0.2})
    )
    group_of = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    expected = {
        "encoder.weight": (0.1, 0.1),
        "encoder.bias": (0.1, 0.0),
        "decoder.weight": (0.5, 0.1),
        "decoder.bias": (0.5, 0.0),
        "norm.weight": (0.5, 0.0),
        "norm.bias": (0.5, 0.0),
        "mask_token": (0.5, 0.0),
    }
    found = {
        name: (group_of[id(p)]["lr"], group_of[id(p)]["weight_decay"])
        for name, p in net.named_parameters()
        if id(p) in group_of
    }
    assert found == expected
    set_learning_rate(optimizer, 4, Schedule(iterations=100, warmup=10))
    assert {g["lr"] for g in optimizer.param_groups} == {0.25, 0.05}


def test_accumulated_gradients_are_those_of_the_whole_batch():
    torch.manual_seed(0)
    x = torch.randn(8, 3)
    nets = [_Net(), _Net()]
    nets[1].load_state_dict(nets[0].state_dict())
    for net, accumulate in zip(nets, (1, 2)):
        wrapper = PrecisionOptimWrapper(
            torch.optim.SGD(net.parameters(), lr=0.1), precision="fp32", accumulate=accumulate
        )
        for part in x.chunk(accumulate):
            with wrapper.optim_context(net):
                loss = net(part).square().mean()
            wrapper.update_params(loss)
        assert wrapper.grad_norm > 0
    for first, second in zip(nets[0].parameters(), nets[1].parameters()):
        torch.testing.assert_close(first, second)


def test_clipping_bounds_the_step():
    net = nn.Linear(4, 1, bias=False)
    before = net.weight.detach().clone()
    wrapper = PrecisionOptimWrapper(
        torch.optim.SGD(net.parameters(), lr=1.0), precision="fp32", clip=0.5
    )
    wrapper.update_params(net(torch.full((1, 4), 100.0)).sum())
    assert (net.weight - before).norm().item() == pytest.approx(0.5, rel=1e-4)
    assert wrapper.grad_norm.item() == pytest.approx(200.0)


def test_bf16_runs_the_forward_pass_in_bf16_only():
    net = nn.Linear(4, 4)
    wrapper = PrecisionOptimWrapper(torch.optim.SGD(net.parameters(), lr=1.0), precision="bf16")
    with wrapper.optim_context(net):
        out = net(torch.randn(2, 4))
    assert out.dtype == torch.bfloat16 and net.weight.dtype == torch.float32


def test_the_average_follows_its_formula_and_is_swapped_in():
    net = nn.Linear(1, 1, bias=False)
    average = WeightAverage(net, Ema(decay=0.9, warmup=True))
    expected = net.weight.item()
    for step in range(30):
        with torch.no_grad():
            net.weight.fill_(float(step))
        average.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-5)
    with average.applied():
        assert net.weight.item() == pytest.approx(expected, rel=1e-5)
    assert net.weight.item() == 29.0
    with pytest.raises(ZeroDivisionError), average.applied():
        raise ZeroDivisionError
    assert net.weight.item() == 29.0


def test_the_sum_takes_losses_and_logs_the_rest():
    terms = {"loss_a": torch.tensor([1.0, 3.0]), "loss_b": torch.tensor(0.5), "psnr": torch.ones(2)}
    total, logged = total_loss(terms)
    assert total.item() == 2.5
    assert {name: value.item() for name, value in logged.items()} == {
        "loss": 2.5,
        "loss_a": 2.0,
        "loss_b": 0.5,
        "psnr": 1.0,
    }
    with pytest.raises(ValueError, match="no `loss_\\*` among psnr"):
        total_loss({"psnr": torch.ones(1)})


def test_batches_cover_every_pass_once_between_processes():
    length, size, world = 10, 2, 2
    parts = [StepBatchSampler(length, size, seed=5, rank=r, world=world) for r in range(world)]
    streams = [list(itertools.islice(part, 5)) for part in parts]  # 5 steps = 20 = two passes
    order = [i for step in zip(*streams) for batch in step for i in batch]
    assert sorted(order[:length]) == sorted(order[length:]) == list(range(length))
    assert order[:length] != order[length:] and order[:length] != list(range(length))


@pytest.mark.parametrize("start", [0, 1, 6])
def test_a_loader_can_start_anywhere(start):
    for batches, kind in ((True, BatchLoader), (False, IndexLoader)):
        loader = build_loader(ToyPeople(batches=batches), 3, CPU, seed=2)
        assert isinstance(loader, kind)
        whole = list(itertools.islice(loader.iterate(), start + 2))
        part = next(loader.iterate(start))
        assert torch.equal(part.subject, whole[start].subject)
        assert torch.equal(part.target.portrait.rgb, whole[start].target.portrait.rgb)
        assert not torch.equal(part.subject, whole[start + 1].subject)


def test_worker_processes_give_the_same_batches():
    dataset = ToyPeople(batches=False)
    alone = IndexLoader(dataset, 2, CPU)
    helped = IndexLoader(dataset, 2, CPU, workers=1)
    first = [b.subject.tolist() for b in itertools.islice(alone.iterate(3), 3)]
    second = [b.subject.tolist() for b in itertools.islice(helped.iterate(3), 3)]
    assert first == second


def test_fixed_batches_keep_the_order():
    batches = list(fixed_batches(ToyPeople(), [4, 1, 2], 2, CPU))
    assert [b.subject.tolist() for b in batches] == [[4, 1], [2]]


def test_what_is_no_data_set_is_named():
    with pytest.raises(ConfigError, match="dataset `int` has neither"):
        build_loader(3, 1, CPU)


def test_devices_and_launchers_are_checked(monkeypatch):
    assert pick_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    with pytest.raises(ConfigError, match="torch finds no CUDA device"):
        pick_device("cuda")
    with pytest.raises(ConfigError, match="unknown launcher `slurm`"):
        start_process("cpu", "slurm")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="torchrun --nproc_per_node"):
        start_process("cpu", "pytorch")
