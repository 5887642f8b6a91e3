"""The contract checks find what they promise to find: each of these components is broken."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from presence.interfaces import Decoder, Encoder
from presence.rasterize import build_rasterizer
from presence.registry import DECODERS, PROJECTORS
from presence.rendering import build_renderer
from presence.structures import BodyParams, Camera, ImageFeatures, Portrait, Tracking
from presence.testing.contracts import (
    ContractError,
    check_body,
    check_dataset,
    check_decoder,
    check_encoder,
    check_projector,
    check_rasterizer,
    check_renderer,
    check_tracker,
)
from presence.testing.toy_training import ToyPeople


class GoodEncoder(Encoder):
    out_channels = 4

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, portrait):
        return ImageFeatures(self.net(portrait.rgb))


class WrongChannels(GoodEncoder):
    out_channels = 5


class Noisy(GoodEncoder):
    def forward(self, portrait):
        return ImageFeatures(self.net(portrait.rgb) + torch.rand(()))


class Mixing(GoodEncoder):
    def forward(self, portrait):
        grid = self.net(portrait.rgb)
        return ImageFeatures(grid - grid.mean(0, keepdim=True))


class Idle(GoodEncoder):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)


class Changing(GoodEncoder):
    def forward(self, portrait):
        features = ImageFeatures(self.net(portrait.rgb.clone()))
        portrait.rgb.mul_(1.0).clamp_(0.3, 0.6)
        return features


def test_a_good_encoder_passes():
    check_encoder(GoodEncoder())


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (WrongChannels, "out_channels is 5, but features have 4"),
        (Noisy, "deterministic"),
        (Mixing, "rest of the batch"),
        (Idle, r"no gradient reaches \['unused.weight', 'unused.bias'\]"),
        (Changing, "deterministic|should not be changed"),
    ],
)
def test_broken_encoders(cls, said):
    with pytest.raises(ContractError, match=f"{cls.__name__} breaks its contract: .*({said})"):
        check_encoder(cls())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.replace(rgb=r.rgb.roll(1, -1), alpha=r.alpha.roll(1, -1)), "projection"),
        (lambda r: r.replace(rgb=r.rgb / r.alpha.clamp_min(1e-3)), "colour times alpha|cover|fill"),
        (lambda r: r.replace(depth=r.depth * 2), "camera z"),
        (lambda r: r.replace(rgb=r.rgb.detach() + 0 * r.rgb), "gradient"),
    ],
    ids=["shifted", "not premultiplied", "depth", "no gradient"],
)
def test_broken_renderers(change, said):
    good = build_renderer("cpu")
    with pytest.raises(ContractError, match=said):
        check_renderer(lambda *arguments: change(good(*arguments)))


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (lambda s: s + torch.tensor([0.5, 0.5, 0.0]), lambda f: f, "covered|background"),
        (lambda s: s, lambda f: f.replace(depth=f.depth * 1.1), "depth"),
        (lambda s: s, lambda f: f.replace(barycentrics=f.barycentrics.flip(-1)), "barycentrics"),
    ],
    ids=["pixel centres at integers", "depth", "corners swapped"],
)
def test_broken_rasterizers(before, after, said):
    good = build_rasterizer("cpu")
    with pytest.raises(ContractError, match=said):
        check_rasterizer(
            lambda screen, *rest, **options: after(good(before(screen), *rest, **options))
        )


def test_a_rasterizer_that_forgets_perspective():
    good = build_rasterizer("cpu")

    def flat(screen, faces, height, width, *, cull_backfaces=True, orthographic=False):
        return good(screen, faces, height, width, cull_backfaces=cull_backfaces, orthographic=True)

    with pytest.raises(ContractError, match="perspective-correct"):
        check_rasterizer(flat)


class _Wrapped:
    def __init__(self, change):
        self.people, self.change = ToyPeople(batches=False), change

    def __len__(self):
        return len(self.people)

    def __getitem__(self, index):
        return self.change(self.people[index], index)


def _random(sample, index):
    portrait = sample.reference.portrait
    noise = 0.01 * torch.rand_like(portrait.rgb)
    changed = portrait.replace(rgb=(portrait.rgb + noise).clamp(0, 1))
    return sample.replace(reference=sample.reference.replace(portrait=changed))


def _other_person(sample, index):
    body = sample.target.body.replace(betas=sample.target.body.betas + 1)
    return sample.replace(target=sample.target.replace(body=body))


def _wrong_camera(sample, index):
    camera = sample.target.camera.replace(width=99)
    return sample.replace(target=sample.target.replace(camera=camera))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_random, "same sample"),
        (_other_person, "same person"),
        (_wrong_camera, "camera says"),
        (lambda s, i: s.unsqueeze(), "no batch axis"),
    ],
)
def test_broken_data_sets(change, said):
    with pytest.raises(ContractError, match=said):
        check_dataset(_Wrapped(change))


def test_a_good_data_set_passes_and_repeating_steps_are_found():
    check_dataset(ToyPeople())
    people = ToyPeople()
    original = people.batch
    people.batch = lambda step, *rest, **ranks: original(0, *rest)
    with pytest.raises(ContractError, match="different steps"):
        check_dataset(people)


class _Tracker:
    def __init__(self, body, *, blind=False, **changes):
        self.body, self.blind, self.changes = body, blind, changes

    def __call__(self, portrait):
        from presence.errors import InputError

        if portrait.alpha.max() == 0 and not self.blind:
            raise InputError("nobody is in the picture")
        height, width = portrait.size
        params: BodyParams = self.body.default_params()
        head = self.body(params).joints[15]
        eye = head + torch.tensor([0.0, 0.0, 2.0])
        values = dict(
            body=params,
            camera=Camera.look_at(eye, head, 0.5, width, height),
            visibility=dict(head=1.0, upper=1.0, lower=0.0, left_hand=0.0, right_hand=0.2),
        )
        return Tracking(**{**values, **self.changes})


def test_trackers(body):
    portrait = Portrait(torch.rand(3, 32, 48), torch.ones(1, 32, 48))
    check_tracker(_Tracker(body), body, portrait)
    unseen = dict(head=1.0, upper=1.0)
    with pytest.raises(ContractError, match="visibility has the parts"):
        check_tracker(_Tracker(body, visibility=unseen), body, portrait)
    turned = Camera.look_at(torch.tensor([0, 0, 2.0]), torch.tensor([0, 0, 9.0]), 0.5, 48, 32)
    with pytest.raises(ContractError, match="head joint should lie in the picture"):
        check_tracker(_Tracker(body, camera=turned), body, portrait)
    with pytest.raises(ContractError, match="raises InputError"):
        check_tracker(_Tracker(body, blind=True), body, portrait)


def _projector(body, surface):
    rasterizer = build_rasterizer("cpu")
    cfg = dict(type="DualUVProjector", core_size=16, shell_size=8)
    return PROJECTORS.build(cfg, surface=surface, rasterizer=rasterizer)


def test_a_projector_that_learns_is_found(body, surface):
    projector = _projector(body, surface)
    projector.scale = nn.Parameter(torch.ones(1))
    with pytest.raises(ContractError, match="learns nothing"):
        check_projector(projector, body)


def test_a_projector_that_is_not_linear_is_found(body, surface):
    projector = _projector(body, surface)
    original = projector.forward

    def squared(features, *rest):
        return original(features.replace(grid=features.grid**2), *rest)

    projector.forward = squared
    with pytest.raises(ContractError, match="linear in the features"):
        check_projector(projector, body)


class _Changed(Decoder):
    """The copy decoder with something changed in its avatar."""

    def __init__(self, inner, change):
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, features, canonical, body, camera):
        avatar = self.inner(features, canonical, body, camera)
        return avatar.replace(canonical=self.change(avatar.canonical))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda g: g.replace(opacities=g.opacities * 2), "opacities should be in 0..1"),
        (lambda g: g.replace(scales=g.scales * 0), "scales should be positive"),
        (lambda g: g.replace(means=g.means / 0 * 0), "should be finite"),
        (lambda g: g.map(lambda value: value[:, :5]), "needs a bound point"),
        (lambda g: g.replace(colors=g.colors * torch.rand(())), "deterministic"),
    ],
)
def test_broken_decoders(change, said, body, surface):
    from presence.structures import UVFeatures

    inner = DECODERS.build(dict(type="CopyDecoder"), body=body, surface=surface)
    maps = torch.rand(2, 3, 64, 64)
    seen = torch.ones(2, 1, 64, 64)
    features = UVFeatures(maps, seen, maps, seen, maps, seen)
    check_decoder(inner, body, features)
    with pytest.raises(ContractError, match=said):
        check_decoder(_Changed(inner, change), body, features)


def test_a_decoder_that_finishes_pictures_of_another_size_is_found(body, surface):
    from presence.structures import UVFeatures

    class Cropping(_Changed):
        def finish(self, rendering, posed, camera, background, renderer):
            return rendering.map(lambda value: value[..., 1:, :])

    maps, seen = torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)
    features = UVFeatures(maps, seen, maps, seen, maps, seen)
    inner = DECODERS.build(dict(type="CopyDecoder"), body=body, surface=surface)
    cropping = Cropping(inner, lambda gaussians: gaussians)
    cropping.bias = nn.Parameter(torch.zeros(()))  # something to train
    with pytest.raises(ContractError, match="keep the picture's size"):
        check_decoder(cropping, body, features)


class _Altered:
    """A body with some of its attributes replaced."""

    def __init__(self, body, **changes):
        self._body, self._changes = body, changes

    def __call__(self, params):
        return self._changes.get("forward", self._body)(params)

    def __getattr__(self, name):
        return self._changes.get(name, getattr(self._body, name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda b: dict(topology=b.topology.replace(faces=b.topology.faces.flip(-1))),
            "faces look outwards",
        ),
        (
            lambda b: dict(
                vertex_parts={k: v for k, v in b.vertex_parts.items() if k != "left_eye"}
            ),
            r"vertex_parts lacks \['left_eye'\]",
        ),
        (
            lambda b: dict(forward=lambda p: b(p.replace(translation=p.translation * 2))),
            "translation moves every vertex alike",
        ),
        (
            lambda b: dict(forward=lambda p: b(p.replace(expression=p.expression * 0))),
            "should depend on expression",
        ),
    ],
    ids=["inside out", "a part missing", "translated twice", "no expression"],
)
def test_broken_bodies(change, said, body):
    with pytest.raises(ContractError, match=said):
        check_body(_Altered(body, **change(body)))
