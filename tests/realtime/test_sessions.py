"""Sessions on a GPU beside the eager model: the same avatars and pictures."""

import math

import pytest
import torch

from presence.bodies import load_body
from presence.engine.checkpoint import build_model
from presence.profiling.scene import dense_avatar, some_pose, some_sample, whole_body
from presence.projection import build_surface
from presence.structures import stack

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

MODEL = dict(
    body=dict(type="SMPLXBody", source="annyx"),
    map_size=128,
    rasterizer=dict(type="AutoRasterizer"),
    encoder=dict(
        type="CompactEncoder",
        widths=(16, 32, 64),
        conv_blocks=(1, 1),
        attention_blocks=1,
        heads=2,
        out_channels=64,
    ),
    projector=dict(type="DualUVProjector", core_size=16, shell_size=8, feature_stride=1),
    decoder=dict(
        type="DualUVDecoder", core_size=16, shell_size=8, width=128, heads=2, blocks=2, hidden=64
    ),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
)


LOOKS_AGAIN = dict(
    texel_rgb=True,
    complete=True,
    probes=(-0.02, 0.0, 0.05),
    outline=True,
    carve=True,
    resample=True,
)


@pytest.fixture(scope="module", params=[{}, LOOKS_AGAIN], ids=["paper", "looks again"])
def model(request):
    torch.manual_seed(0)
    return build_model(MODEL | dict(decoder=MODEL["decoder"] | request.param)).cuda().eval()


@pytest.mark.parametrize("batch", [1, 3])
def test_animation_draws_what_the_renderer_draws(batch):
    from presence.realtime.animation import AnimationSession
    from presence.rendering import build_renderer

    body = load_body("annyx").cuda()
    avatar = dense_avatar(body, build_surface(body, 256).cuda(), 60_000, "cuda")
    own = avatar.body.with_offsets(body.num_vertices)
    raised = torch.zeros_like(own.offsets)
    raised[body.vertex_parts["head"], 1] = 0.05
    avatar = avatar.replace(body=own.replace(offsets=raised))
    camera = whole_body(body, 256, batch, "cuda")
    background = torch.tensor([0.2, 0.5, 0.9]).cuda()
    session = AnimationSession(avatar, body, camera, batch=batch, background=background)
    assert session.graph_problem is None
    many, renderer = stack([avatar] * batch), build_renderer("auto")
    for seed in (0, 1):
        params = some_pose(body, batch, "cuda", seed).shaped_as(avatar.body)
        with torch.no_grad():
            wanted = renderer(many.pose_reference(body(params)), camera, background)
        found = session.draw(params, camera)
        difference = (found.rgb - wanted.rgb).abs()
        assert difference.mean() < 2e-4 and difference.quantile(0.999) < 0.03
        assert (found.alpha - wanted.alpha).abs().mean() < 2e-4
        assert wanted.alpha.mean() > 0.05


def test_animation_makes_room_for_a_closer_view():
    from presence.realtime.animation import AnimationSession
    from presence.rendering import build_renderer

    body = load_body("annyx").cuda()
    avatar = dense_avatar(body, build_surface(body, 128).cuda(), 15_000, "cuda")
    far = whole_body(body, 256, 1, "cuda")
    zoom = torch.diag(torch.tensor([6.0, 6.0, 1.0])).cuda()
    near = far.replace(
        K=zoom @ far.K - torch.tensor([[0, 0, 640.0], [0, 0, 640], [0, 0, 0]]).cuda()
    )
    params = some_pose(body, 1, "cuda")
    session = AnimationSession(avatar, body, far, headroom=1.0)
    before = session.capacity
    for _ in range(4):
        found = session.draw(params, near)
        torch.cuda.synchronize()
    assert session.capacity > before
    with torch.no_grad():
        wanted = build_renderer("auto")(avatar.pose(body(params[0])), near[0])
    assert (found.rgb[0] - wanted.rgb).abs().mean() < 1e-3


def test_a_player_leaves_videos_to_a_session_that_lacks_nothing():
    from presence.pipeline import AvatarPlayer
    from presence.rendering import build_renderer

    body = load_body("annyx").cuda()
    avatar = dense_avatar(body, build_surface(body, 128).cuda(), 15_000, "cuda")
    far = whole_body(body, 256, 1, "cuda")[0]
    zoom = torch.diag(torch.tensor([6.0, 6.0, 1.0])).cuda()
    near = far.replace(
        K=zoom @ far.K - torch.tensor([[0, 0, 640.0], [0, 0, 640], [0, 0, 0]]).cuda()
    )
    params = [some_pose(body, 1, "cuda", seed)[0] for seed in range(4)]
    cameras = [far, near, far, near]  # needs more room at once
    white = torch.ones(3).cuda()
    player = AvatarPlayer(avatar, body)
    assert player._fast and not AvatarPlayer(avatar, body, build_renderer("auto"))._fast
    kept = avatar.map(torch.clone), far.K.clone()
    found = list(player.frames(params, cameras, white))
    assert torch.equal(avatar.body.pose, kept[0].body.pose) and torch.equal(far.K, kept[1])
    for picture, pose, camera in zip(found, params, cameras, strict=True):
        wanted = player.draw(pose, camera, white).rgb
        assert picture.shape == wanted.shape
        assert (picture - wanted).abs().mean() < 1e-3


def test_animation_never_waits():
    from presence.realtime.animation import AnimationSession

    body = load_body("annyx").cuda()
    avatar = dense_avatar(body, build_surface(body, 128).cuda(), 15_000, "cuda")
    camera, params = whole_body(body, 128, 1, "cuda"), some_pose(body, 1, "cuda")
    session = AnimationSession(avatar, body, camera)
    session.draw(params, camera)
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            session.draw(params, camera)
    finally:
        torch.cuda.set_sync_debug_mode(before)


@pytest.mark.parametrize("compile", ["none", "default"])
def test_reconstruction_builds_what_the_model_builds(model, compile):
    from presence.realtime.reconstruction import ReconstructionSession

    sample = some_sample(model.body, 128, 1, "cuda")
    view, other = sample.reference, sample.target
    session = ReconstructionSession(model, view.portrait, view.body, view.camera, compile=compile)
    assert "CUDA graph: yes" in session.notes, session.notes
    shifted = other.body.with_offsets(model.body.num_vertices)
    shifted = shifted.replace(offsets=shifted.offsets + 0.01)
    for inputs in (view, other, other.replace(body=shifted), other):
        found = session(inputs.portrait, inputs.body, inputs.camera)
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16):
            wanted = model.reconstruct(inputs.portrait, inputs.body, inputs.camera)
        assert (found.body.offsets is None) == (inputs.body.offsets is None)
        for name in ("means", "scales", "opacities", "colors"):
            got, right = getattr(found.canonical, name), getattr(wanted.canonical, name)
            error = (got - right).norm() / right.norm()
            assert error < 0.03, (name, float(error))  # both are bf16
    assert math.isfinite(float(found.canonical.means.sum()))
