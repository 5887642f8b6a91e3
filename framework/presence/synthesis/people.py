"""`ProceduralPeople`: seeds to pictures of people with known bodies and cameras, on any device."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from presence.interfaces import Body, MeshRasterizer
from presence.structures import (
    BodyParams,
    Camera,
    Portrait,
    TensorStruct,
    TrainSample,
    View,
    cat,
    static,
)
from presence.synthesis.anatomy import Anatomy
from presence.synthesis.backdrop import BackdropLook, draw_backdrops, paint_backdrops
from presence.synthesis.draws import Draws
from presence.synthesis.fabric import DecalLook, FabricLook, draw_decals, draw_fabrics
from presence.synthesis.fields import Beside, srgb_from_linear
from presence.synthesis.framing import Viewpoint, draw_viewpoints, place_cameras
from presence.synthesis.garments import GarmentLook, draw_garments
from presence.synthesis.glyphs import Glyphs
from presence.synthesis.hair import HairLook, draw_hair
from presence.synthesis.identity import draw_bodies, draw_shape
from presence.synthesis.lighting import LightLook, develop, draw_light
from presence.synthesis.noise import NoiseVolume
from presence.synthesis.palette import draw_hair_color, draw_skin_tone
from presence.synthesis.scene import Scene
from presence.synthesis.shading import shade
from presence.synthesis.shells import build_shells, frame_reach, layer_normals
from presence.synthesis.skin import SkinLook, draw_skin
from presence.synthesis.visible import dropped, find_visible, layer_faces, pose_layers

# Picture samples worked on together, on the CPU and on a GPU: bounds memory, changes nothing else.
_SAMPLES_AT_ONCE = (2**20, 2**26)
Yaw = tuple[tuple[float, float, float], ...]

FIRST_SEED = {"test": 0, "val": 500_000, "train": 1_000_000}
HALF_DOMINATED = {"half": 0.6, "any": 0.17, "head": 0.11, "full": 0.12}
REFERENCE_YAW: Yaw = ((0.9, 0.0, 35.0), (0.1, 35.0, 80.0))
TARGET_YAW: Yaw = ((0.55, 30.0, 60.0), (0.15, 0.0, 30.0), (0.3, 60.0, 180.0))


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe(TensorStruct):
    """Everything that is drawn for a batch of subjects; every field is [B ...].

    `body` is [B n], one pose a view, which is why it is kept apart from the batch axes.
    """

    viewpoint: Viewpoint
    skin: SkinLook
    hair: HairLook
    garments: GarmentLook
    fabrics: FabricLook
    decals: DecalLook
    light: LightLook
    backdrop: BackdropLook
    body: BodyParams = static()

    def rows(self, index: slice) -> Recipe:
        """Returns the recipes of some of the subjects."""
        return self[index].replace(body=self.body[index])


class ProceduralPeople(nn.Module):
    """Makes pictures of people who do not exist, each from one integer.

    A subject's parameters are drawn on the host, by hashing its seed; everything with pixels
    or vertices runs batched on the module's device.

    Args:
        body: body model whose parameters are the ground truth.
        rasterizer: of triangles, for the device.
        framings: weights of "head", "half", "full" and "any".
        reference_yaw: (weight, low, high) degrees from straight ahead, either side.
        target_yaw: (weight, low, high) degrees between the reference and the other views.
        repose_probability: share of subjects whose other views have another pose and face.
        background: "random", or one grey level for all, "black", "grey" or "white".
        supersample: samples along a pixel's side; coverage and colour are their averages.

    Example:
        >>> from presence.bodies import load_body
        >>> from presence.rasterize import build_rasterizer
        >>> people = ProceduralPeople(load_body("annyx"), build_rasterizer("cpu"))
        >>> people.generate([3], size=(48, 48)).reference.portrait.rgb.shape
        torch.Size([1, 3, 48, 48])
    """

    def __init__(
        self,
        body: Body,
        rasterizer: MeshRasterizer,
        *,
        framings: dict[str, float] | None = None,
        reference_yaw: Sequence[Sequence[float]] = REFERENCE_YAW,
        target_yaw: Sequence[Sequence[float]] = TARGET_YAW,
        repose_probability: float = 0.0,
        background: Literal["random", "black", "grey", "white"] = "random",
        supersample: int = 2,
    ) -> None:
        super().__init__()
        self.body = body
        self.rasterizer = rasterizer
        self.framings = dict(framings or HALF_DOMINATED)
        self.reference_yaw: Yaw = tuple(tuple(part) for part in reference_yaw)  # type: ignore
        self.target_yaw: Yaw = tuple(tuple(part) for part in target_yaw)  # type: ignore
        self.repose_probability = repose_probability
        self.background = background
        self.supersample = supersample
        self.anatomy = Anatomy(body, rasterizer)
        self.noise = NoiseVolume()
        self.glyphs = Glyphs()

    @property
    def device(self) -> torch.device:
        """Where the pictures are made."""
        return self.noise.volume.device

    def draw(self, seeds: Sequence[int] | Tensor, views: int = 2) -> Recipe:
        """Draws the recipes [B] of subjects on the host.

        Args:
            seeds: [B] integers; equal seeds give equal recipes in any batch.
            views: pictures of each subject.
        """
        numbers = seeds.cpu().numpy() if isinstance(seeds, Tensor) else np.asarray(seeds)
        draws, anatomy = Draws(numbers), self.anatomy
        betas = draw_shape(
            draws.scoped("shape"), anatomy.height_direction.cpu().numpy(), anatomy.height
        )
        # Figure, hair and clothes should mostly tell one story, as they do in the street.
        figure = betas @ anatomy.figure_direction.cpu().numpy()
        feminine = draws.chance("feminine", 1.0 / (1.0 + np.exp(-2.5 * figure))) * 0.9 + 0.05
        _, dark = draw_skin_tone(draws.scoped("skin"))
        hair_color = draw_hair_color(draws.scoped("hair"), dark)
        hair, buzz = draw_hair(draws.scoped("hair"), hair_color, feminine, anatomy.anchors)
        skin = draw_skin(draws.scoped("skin"), hair_color, feminine, hair.beard.numpy() > 0.5)
        garments = draw_garments(draws.scoped("garments"), anatomy.anchors, feminine)
        body = draw_bodies(
            draws.scoped("body"), self.body, betas, garments.skirt.numpy(),
            draws.chance("repose", self.repose_probability), views,
        )  # fmt: skip
        viewpoint = draw_viewpoints(
            draws.scoped("camera"), views, framings=self.framings,
            target_yaw=self.target_yaw, reference_yaw=self.reference_yaw,
        )  # fmt: skip
        camera_yaw = (viewpoint.yaw[:, 0] + body.pose[:, 0, 0, 1]).numpy()
        fabrics = draw_fabrics(draws.scoped("fabric"))
        return Recipe(
            body=body,
            viewpoint=viewpoint,
            skin=skin.replace(buzz=torch.from_numpy(buzz.astype(np.float32))),
            hair=hair,
            garments=garments,
            fabrics=fabrics,
            decals=draw_decals(draws.scoped("decals"), anatomy.anchors, fabrics),
            light=draw_light(draws.scoped("light"), camera_yaw),
            backdrop=draw_backdrops(draws.scoped("backdrop"), views),
        )

    @torch.no_grad()
    def render(self, recipe: Recipe, size: tuple[int, int], camera: Camera | None = None) -> View:
        """Makes the pictures [B n] of recipes [B] with n viewpoints each.

        Args:
            recipe: from `draw`, on any device.
            size: height and width of the pictures, px.
            camera: [B n] of that size; None places it by the recipe's viewpoint.
        """
        recipe = recipe.to(self.device)
        subjects, views = recipe.viewpoint.yaw.shape
        samples = views * size[0] * size[1] * self.supersample**2
        chunk = max(1, _SAMPLES_AT_ONCE[self.device.type != "cpu"] // samples)
        with torch.autocast(self.device.type, enabled=False):  # geometry is float32
            parts = [
                self._render(
                    recipe.rows(slice(first, first + chunk)),
                    size,
                    None if camera is None else camera[first : first + chunk],
                )
                for first in range(0, subjects, chunk)
            ]
        return parts[0] if len(parts) == 1 else cat(parts)

    def _render(self, recipe: Recipe, size: tuple[int, int], camera: Camera | None) -> View:
        height, width = size
        mesh = self.body(recipe.body)
        if camera is None:
            facing = recipe.body.pose[..., 0, 1]
            camera = place_cameras(recipe.viewpoint, mesh, facing, height, width)
        betas = recipe.body.betas[:, 0]
        faces = self.body.topology.faces
        shells = build_shells(self.anatomy, faces, betas, recipe.garments, recipe.hair, self.noise)
        layers = pose_layers(mesh, shells)
        each = layer_faces(self.anatomy, faces)
        scene = Scene(
            recipe=recipe,
            shells=shells,
            layers=layers,
            normals=layer_normals(layers, each),
            turns=mesh.skin_rotations,
            cut=dropped(shells, frame_reach(Beside(recipe.hair), self.anatomy)),
            faces=each,
            camera=camera,
            anatomy=self.anatomy,
            noise=self.noise,
            glyphs=self.glyphs,
        )
        surface = find_visible(scene, self.rasterizer, self.supersample)
        light = shade(scene, surface, self.rasterizer)
        portrait = self._picture(recipe, surface.pixel, surface.picture, light, size)
        return View(portrait=portrait, body=recipe.body, camera=camera)

    def generate(
        self, seeds: Sequence[int] | Tensor, views: int = 2, size: tuple[int, int] = (384, 384)
    ) -> TrainSample:
        """Makes one reference-target pair for each seed.

        Args:
            seeds: [B] integers.
            views: pictures made of each subject; the first two become the pair.
            size: height and width, px.

        Returns:
            A batch [B] on the module's device.
        """
        made = self.render(self.draw(seeds, max(views, 2)), size)
        subject = torch.as_tensor(seeds, dtype=torch.int64).to(self.device)
        return TrainSample(reference=made[:, 0], target=made[:, 1], subject=subject)

    def _picture(
        self, recipe: Recipe, pixel: Tensor, picture: Tensor, light: Tensor, size: tuple[int, int]
    ) -> Portrait:
        subjects, views = recipe.viewpoint.yaw.shape
        height, width = size[0] * self.supersample, size[1] * self.supersample
        subject = torch.div(picture, views, rounding_mode="floor")
        developed = srgb_from_linear(develop(Beside(recipe.light, subject), light))
        canvas = torch.zeros(4, subjects * views * height * width, device=light.device)
        canvas.index_copy_(1, pixel, torch.cat([developed, torch.ones_like(developed[:1])]))
        canvas = canvas.reshape(4, subjects * views, height, width)
        small = nn.functional.avg_pool2d(canvas, self.supersample)
        small = small.movedim(0, 1).reshape(subjects, views, 4, *size)
        rgb, alpha = small[:, :, :3], small[:, :, 3:]
        return Portrait(rgb=rgb + (1.0 - alpha) * self._backdrop(recipe, size), alpha=alpha)

    def _backdrop(self, recipe: Recipe, size: tuple[int, int]) -> Tensor:
        if self.background != "random":
            level = {"black": 0.0, "grey": 0.5, "white": 1.0}[self.background]
            return torch.full((1, 1, 3, 1, 1), level, device=self.device)
        return srgb_from_linear(paint_backdrops(recipe.backdrop, self.noise, *size))
