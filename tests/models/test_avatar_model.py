import math

import pytest
import torch

from presence.errors import ConfigError
from presence.geometry import axis_angle_to_matrix
from presence.models import AvatarModel
from presence.registry import BODIES
from presence.structures import Camera, Portrait, TrainSample, View, cat
from presence.testing.toy_bodies import SphereBody

if "SphereBody" not in BODIES.module_dict:
    BODIES.register()(SphereBody)


def tiny_config(**decoder):
    return dict(
        body=dict(type="SphereBody"),
        map_size=32,
        rasterizer=dict(type="AutoRasterizer"),
        encoder=dict(
            type="CompactEncoder",
            widths=(8, 16, 32),
            conv_blocks=(1, 1),
            attention_blocks=1,
            heads=2,
            out_channels=12,
        ),
        projector=dict(type="DualUVProjector", core_size=8, shell_size=4),
        decoder=dict(
            type="DualUVDecoder",
            core_size=8,
            shell_size=4,
            width=32,
            heads=2,
            blocks=2,
            hidden=16,
            **(dict(texel_rgb=True) | decoder),
        ),
        renderer=dict(type="CPURenderer"),
        reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
        regularizers=[dict(type="OffsetLoss"), dict(type="OpacityLoss", patches=8)],
    )


def view(body, yaw: float = 0.0, size: int = 48) -> View:
    eye = 4.0 * torch.tensor([math.sin(yaw), 0.0, math.cos(yaw)])
    camera = Camera.look_at(eye, torch.zeros(3), math.radians(20), size, size).unsqueeze()
    ys, xs = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    inside = ((xs - size / 2) ** 2 + (ys - size / 2) ** 2).sqrt() < size * 0.355
    rgb = torch.stack([xs / size, ys / size, 0.5 * torch.ones_like(xs)])
    portrait = Portrait(rgb[None], inside[None, None].float())
    return View(portrait, body.default_params((1,)), camera)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return AvatarModel.from_config(tiny_config())


def sample(body) -> TrainSample:
    return TrainSample(view(body), view(body, 0.6), torch.zeros(1, dtype=torch.long))


def test_body_and_maps_are_not_saved(model):
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_one_portrait_and_a_batch_agree(model):
    model.eval()
    v = view(model.body)
    batched = model.reconstruct(v.portrait, v.body, v.camera)
    single = model.reconstruct(v.portrait[0], v.body[0], v.camera[0])
    assert single.batch_shape == ()
    torch.testing.assert_close(single.canonical.colors, batched.canonical.colors[0])


def test_untrained_model_copies_what_it_sees(model):
    """With small heads the texel colours are the portrait's: the projection is closed-form."""
    model.eval()
    v = view(model.body)
    avatar = model.reconstruct(v.portrait, v.body, v.camera)
    points = avatar.binding.interpolate(model.body(v.body).vertices)
    px, _ = v.camera.project(points)
    facing = points[0, :, 2] > 0.2
    colours = avatar.canonical.colors[0, facing, :2]
    assert (colours - px[0, facing] / 48).abs().mean() < 0.06


def test_gaussians_ride_a_rigid_motion(model):
    """Turning and moving the body turns and moves every Gaussian with it."""
    model.eval()
    v = view(model.body)
    avatar = model.reconstruct(v.portrait, v.body, v.camera)
    turn = torch.tensor([[0.3, -0.9, 0.4]])
    pose = v.body.pose.clone()
    pose[:, 0] = turn
    moved = v.body.replace(pose=pose, translation=torch.tensor([[0.1, 0.2, -0.3]]))
    before = avatar.pose(model.body(v.body))
    after = avatar.pose(model.body(moved))
    rotation = axis_angle_to_matrix(turn)[0]
    torch.testing.assert_close(
        after.means, before.means @ rotation.T + moved.translation, atol=1e-5, rtol=1e-4
    )
    from presence.geometry import quaternion_to_matrix

    torch.testing.assert_close(
        quaternion_to_matrix(after.quaternions),
        rotation @ quaternion_to_matrix(before.quaternions),
        atol=1e-4,
        rtol=1e-4,
    )


def test_every_parameter_receives_a_gradient(model):
    model.train()
    model.zero_grad()
    terms = model.loss(sample(model.body))
    sum(value for name, value in terms.items() if name.startswith("loss_")).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert not without
    assert {"loss_reference_l1", "loss_target_l1", "loss_offset", "loss_opacity"} <= set(terms)


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(0)
    model = AvatarModel.from_config(tiny_config(mask_ratio=0.0))
    batch = sample(model.body)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def step() -> float:
        torch.manual_seed(1)  # the same random background every time
        loss = sum(v for k, v in model.loss(batch).items() if k.startswith("loss_"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(15)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "options",
    [
        dict(shell_size=0),
        dict(texel_rgb=False),
        dict(merge=2, cell_width=16, refine_blocks=1),
        dict(width=64, texel_channels=4, texel_rgb=False),  # unpatchify is a pure reshape
        dict(outline=True),
    ],
)
def test_decoder_variants_train(options):
    config = tiny_config(**{k: v for k, v in options.items() if k not in ("shell_size", "width")})
    config["decoder"].update(options)
    model = AvatarModel.from_config(config)
    model.loss(sample(model.body))["loss_target_l1"].backward()
    assert model.decoder.core_position.grad is not None


def with_mask(v: View, radius: float) -> View:
    """The same view of a person whose outline is a circle of `radius` px about the middle."""
    side = v.camera.width
    offsets = torch.arange(side) + 0.5 - side / 2
    alpha = (torch.hypot(offsets[:, None], offsets) < radius).float()[None, None]
    return v.replace(portrait=v.portrait.replace(alpha=alpha))


def test_the_way_to_the_outline_changes_nothing_before_training():
    models = []
    for outline in (False, True):
        torch.manual_seed(0)
        models.append(AvatarModel.from_config(tiny_config(outline=outline)).eval())
    without, told = models
    own, others = told.state_dict(), without.state_dict()
    assert all(torch.equal(own[name], value) for name, value in others.items())
    assert {name.split(".")[1] for name in own.keys() - others.keys()} == {"outline_heads"}
    v = view(without.body)
    first, second = (m.reconstruct(v.portrait, v.body, v.camera).canonical for m in models)
    for name in ("means", "scales", "opacities", "quaternions", "colors"):
        torch.testing.assert_close(getattr(first, name), getattr(second, name))


def test_what_is_learned_of_two_outlines_holds_for_a_third():
    torch.manual_seed(0)
    model = AvatarModel.from_config(tiny_config(outline=True, mask_ratio=0.0))
    v = view(model.body)

    def error(radius: float) -> torch.Tensor:
        person = with_mask(v, radius)
        avatar = model.reconstruct(person.portrait, person.body, person.camera)
        drawn = model.animate(avatar, person.body, person.camera).alpha
        return (drawn - person.portrait.alpha).abs().mean()

    model.eval()
    before = error(19.0).item()
    optimizer = torch.optim.Adam(model.decoder.outline_heads.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        (error(17.5) + error(20.5)).backward()
        optimizer.step()
    assert error(19.0).item() < 0.5 * before


def test_the_outline_needs_a_portrait():
    told = AvatarModel.from_config(tiny_config(outline=True))
    v = view(told.body)
    canonical, posed = told.bodies(v.body)
    uv = told.projector(told.encoder(v.portrait), v.portrait, posed, v.camera)
    with pytest.raises(TypeError, match="outline"):
        told.decoder(uv, canonical, v.body, v.camera)


def test_masking_hides_cells_only_while_training():
    torch.manual_seed(0)
    model = AvatarModel.from_config(tiny_config(mask_ratio=1.0))
    v = view(model.body)

    def colours():
        return model.reconstruct(v.portrait, v.body, v.camera).canonical.colors.detach()

    model.eval()
    assert torch.equal(colours(), colours())
    model.train()
    assert not torch.equal(colours(), colours())


@pytest.mark.parametrize("resample", [False, True])
def test_two_portraits_show_more_than_one(resample):
    """The back of the head is copied from the portrait that sees it, not from the first one."""
    torch.manual_seed(0)
    model = AvatarModel.from_config(tiny_config(resample=resample)).eval()
    front, back = view(model.body), view(model.body, math.pi)
    colours = torch.stack([front.portrait.rgb[0], 1 - back.portrait.rgb[0]])
    portraits = Portrait(colours, torch.cat([front.portrait.alpha, back.portrait.alpha]))
    bodies, cameras = cat([front.body, back.body]), cat([front.camera, back.camera])
    avatar = model.reconstruct_many(portraits, bodies, cameras)
    points = avatar.binding.interpolate(model.body(front.body).vertices)[0]
    for number, (camera, facing) in enumerate(
        ((front.camera, points[:, 2] > 0.2), (back.camera, points[:, 2] < -0.2))
    ):
        px, _ = camera.project(points[None])
        truth = px[0, facing] / 48
        truth = truth if number == 0 else 1 - truth
        assert (avatar.canonical.colors[facing, :2] - truth).abs().mean() < 0.06
    one = model.reconstruct(portraits[0], bodies[0], cameras[0])
    torch.testing.assert_close(avatar.canonical.means, one.canonical.means)
    whole = model.reconstruct_many(portraits, bodies, cameras, geometry="blend")
    torch.testing.assert_close(whole.canonical.colors, avatar.canonical.colors)
    assert not torch.allclose(whole.canonical.means, one.canonical.means, atol=1e-5)
    same = model.reconstruct_many(portraits, bodies, cameras, weights=[2, 0])
    torch.testing.assert_close(same.canonical.colors, one.canonical.colors, atol=1e-4, rtol=1e-3)
    assert torch.equal(avatar.body.pose, front.body.pose[0])


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [-1.0, 2.0]])
def test_weights_of_portraits_are_checked(model, weights):
    v = view(model.body)
    two = cat([v, v])
    with pytest.raises(ConfigError, match="2 portraits need 2 weights"):
        model.reconstruct_many(two.portrait, two.body, two.camera, weights)


def test_feedback_comes_after_training_only():
    """Off while training; otherwise the input view comes closer. Blends of portraits go without."""
    models = []
    for feedback in (None, dict(geometry=dict(steps=4, rate=0.01), colours=dict(steps=2))):
        torch.manual_seed(0)
        config = tiny_config(mask_ratio=0.0) | dict(feedback=feedback)
        models.append(AvatarModel.from_config(config))
    plain, corrected = models
    v = with_mask(view(plain.body), 19.0)  # the ball's own outline is 17 px
    given = v.portrait, v.body, v.camera

    def difference(of: str) -> float:
        first, second = (getattr(m.reconstruct(*given).canonical, of) for m in models)
        return (first - second).abs().max().item()

    def errors(model) -> tuple[float, float]:
        with torch.no_grad():
            drawn = model.animate(model.reconstruct(*given), v.body, v.camera)
        wanted = v.portrait.rgb * v.portrait.alpha
        alpha, rgb = drawn.alpha - v.portrait.alpha, drawn.rgb - wanted
        return alpha.abs().mean().item(), rgb.abs().mean().item()

    for model in models:
        model.train()
    assert difference("means") == difference("colors") == 0
    terms = corrected.loss(TrainSample(v, v, torch.zeros(1, dtype=torch.long)))
    terms["loss_target_l1"].backward()
    assert corrected.decoder.core_position.grad is not None
    for model in models:
        model.eval()
    assert difference("means") > 1e-3 and difference("colors") > 1e-3
    before, after = errors(plain), errors(corrected)
    assert after[0] < 0.8 * before[0] and after[1] < 0.8 * before[1]

    two = cat([v, v])
    blends = [m.reconstruct_many(two.portrait, two.body, two.camera).canonical for m in models]
    for model, blend in zip(models, blends):
        alone = model.reconstruct(*given).canonical.means[0]
        torch.testing.assert_close(blend.means, alone, atol=5e-4, rtol=0)
    assert torch.equal(blends[0].colors, blends[1].colors)
