"""A person with known parameters, drawn by the rasterizer, and a tracker that knows them."""

import dataclasses
import math

import torch

from presence.geometry import matrix_to_axis_angle
from presence.motion.arms import aim_arm
from presence.rasterize import build_rasterizer, interpolate
from presence.structures import BodyParams, Camera, PartEstimate, Portrait, Tracking

MODEL = dict(
    body=dict(type="SMPLXBody", source="annyx"),
    map_size=128,
    rasterizer=dict(type="CPURasterizer"),
    encoder=dict(
        type="CompactEncoder",
        widths=(8, 8, 16),
        conv_blocks=(1, 1),
        attention_blocks=1,
        heads=2,
        out_channels=8,
    ),
    projector=dict(type="DualUVProjector", core_size=16, shell_size=8),
    decoder=dict(type="CopyDecoder", scale=0.8),
    renderer=dict(type="AutoRenderer"),
    reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
)


@dataclasses.dataclass
class Scene:
    """A picture of a person and everything that is true about it."""

    portrait: Portrait
    body: BodyParams
    camera: Camera

    def tracking(self, notes=("known",)) -> Tracking:
        visibility = {"head": 1.0, "upper": 1.0, "lower": 0.0}
        parts = {"upper": PartEstimate(0.5, True, "truth", "it is drawn so")}
        return Tracking(self.body, self.camera, visibility, {}, tuple(notes), parts)


class KnownTracker:
    """Returns the truth, as a tracker that fits perfectly would."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def __call__(self, portrait: Portrait) -> Tracking:
        return self.track(portrait)[1]

    def track(self, portrait: Portrait) -> tuple[Portrait, Tracking]:
        return portrait.replace(alpha=self.scene.portrait.alpha), self.scene.tracking()


def standing(body) -> BodyParams:
    params = body.default_params()
    pose = params.pose.clone()
    for side, sign in (("left", 1.0), ("right", -1.0)):
        upper, fore = torch.tensor([0.3 * sign, -0.95, 0.0]), torch.tensor([0.2 * sign, -0.9, 0.3])
        shoulder, bend = aim_arm(upper, fore, side)
        pose[body.joint_names.index(f"{side}_shoulder")] = matrix_to_axis_angle(shoulder)
        pose[body.joint_names.index(f"{side}_elbow")] = bend
    return params.replace(pose=pose)


def draw_scene(body, height: int = 300, width: int = 240) -> Scene:
    """Paints smooth colours on the body, so that any shift of the copy costs PSNR."""
    params = standing(body)
    camera = Camera.look_at(
        torch.tensor([0.3, 0.35, 3.0]),
        torch.tensor([0.0, 0.3, 0.0]),
        math.radians(22),
        width,
        height,
    )
    mesh = body(params)
    fragments = build_rasterizer("cpu")(
        camera.screen(mesh.vertices)[None], body.topology.faces, height, width
    )
    rest = mesh.rest_vertices
    colours = 0.5 + 0.4 * torch.sin(rest * torch.tensor([9.0, 7.0, 5.0]) + torch.arange(3.0))
    rgb = interpolate(fragments, body.topology.faces, colours[None])[0].permute(2, 0, 1)
    alpha = (fragments.face_ids[:1] >= 0).float()
    return Scene(Portrait(rgb * alpha + 0.2 * (1 - alpha), alpha), params, camera)
