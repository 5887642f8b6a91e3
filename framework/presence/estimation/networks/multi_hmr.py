"""Multi-HMR (Baradel et al., 2024): SMPL-X parameters of everybody in a square picture."""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from presence.errors import AssetError
from presence.estimation.networks import token_decoder
from presence.estimation.networks.token_decoder import TokenDecoder
from presence.geometry import rotation_6d_to_matrix
from presence.models.vit import VisionTransformer
from presence.models.weight_files import fill_strictly, renamed

PATCH, FOV = 14, 60.0  # px; degrees, of the camera that depths are learned for
SIZES = {384: (12, 6), 768: (12, 12), 1024: (24, 16)}  # width to (depth, heads)
ROTATIONS, FREQUENCIES = 53, 16
FARTHEST = 50.0  # m
IGNORED = (
    r"smpl_layer\..*",
    r"backbone\.encoder\.mask_token",
    r"x_attention_head\.init_betas_kid",
)


@dataclasses.dataclass(frozen=True)
class MultiHmrOutput:
    """Everybody found in B pictures, picture by picture, row by row.

    Attributes:
        image: [P] which picture.
        cell: [P 2] row and column of the patch.
        scores: [P] 0..1.
        location: [P 2] px of the head joint in the square picture.
        head: [P 3] m of the head joint, OpenCV axes.
        rotations: [P 53 3 3]: pelvis (camera axes), 21 body, 15 left hand, 15 right hand, jaw;
            hands absolute.
        betas: [P S].
        expression: [P 10].
    """

    image: Tensor
    cell: Tensor
    scores: Tensor
    location: Tensor
    head: Tensor
    rotations: Tensor
    betas: Tensor
    expression: Tensor


class MultiHmr(nn.Module):
    """DINOv2 features, heads detected among the patches, a token each that attends the picture.

    Args:
        width: channels of the backbone; says its size.
        side: of the square picture, px.
        num_betas: shape coefficients.
        depth: blocks of the backbone; None for all of its size.
        head_depth: blocks of the token decoder.
    """

    pose: nn.Linear
    betas: nn.Linear
    camera: nn.Linear
    expression: nn.Linear
    mean_pose: Tensor
    mean_betas: Tensor
    mean_camera: Tensor
    mean_expression: Tensor
    query_row: Tensor
    query_column: Tensor
    value_row: Tensor
    value_column: Tensor

    def __init__(
        self,
        width: int,
        side: int,
        *,
        num_betas: int = 10,
        depth: int | None = None,
        head_depth: int = 2,
    ) -> None:
        super().__init__()
        blocks, heads = SIZES[width]
        self.side, self.grid = side, side // PATCH
        self.backbone = VisionTransformer(
            width,
            depth or blocks,
            heads,
            patch=PATCH,
            grid=(37, 37),
            layer_scale=True,
            position_rule="bicubic_offset",
        )
        self.score, self.offset = (_mlp(width, outputs) for outputs in (1, 2))
        context = width + 3 + 3 * 2 * FREQUENCIES
        inputs = context + ROTATIONS * 6 + num_betas + 3
        self.decoder = TokenDecoder(inputs, context, depth=head_depth, head_width=32)
        for name in ("query_row", "query_column", "value_row", "value_column"):
            self.register_parameter(name, nn.Parameter(torch.randn(self.grid, context) * 0.1))
        sizes = dict(pose=ROTATIONS * 6, betas=num_betas, camera=3, expression=10)
        for name, size in sizes.items():
            self.add_module(name, nn.Linear(1024, size))
            self.register_buffer(f"mean_{name}", torch.zeros(1, size))

    def forward(
        self, images: Tensor, K: Tensor, *, threshold: float = 0.3, kernel: int = 3
    ) -> MultiHmrOutput:
        """Finds everybody in normalised square pictures.

        Args:
            images: [B 3 S S].
            K: [B 3 3] px.
            threshold: of a detection's score.
            kernel: side of the window (patches) within which a score has to be the largest.
        """
        features = self.backbone(images).permute(0, 2, 3, 1)
        return self.find(features, K, threshold=threshold, kernel=kernel)

    def find(self, features: Tensor, K: Tensor, *, threshold: float, kernel: int) -> MultiHmrOutput:
        """Finds everybody in the backbone's features [B g g C]; see `forward`."""
        scores = self.scores(features)
        image, row, column = peaks(scores, threshold, kernel).unbind(-1)
        tokens = self.tokens(features, K, image, row, column)
        rotations, betas, depth, expression = self.decode(tokens, K[image, 0, 0])
        at = torch.stack([column, row], -1) + 0.5 + self.offset(features[image, row, column])
        at = at * PATCH
        rays = torch.cat([at, at.new_ones(len(at), 1)], -1)
        head = (torch.linalg.inv(K)[image] @ rays[..., None])[..., 0] * depth
        return MultiHmrOutput(
            image,
            torch.stack([row, column], -1),
            scores[image, row, column],
            at,
            head,
            rotations,
            betas,
            expression,
        )

    def scores(self, features: Tensor) -> Tensor:
        """Returns how surely each patch [B g g C] holds a head, [B g g]."""
        return self.score(features)[..., 0].sigmoid().clamp(1e-4, 1 - 1e-4)

    def tokens(
        self, features: Tensor, K: Tensor, image: Tensor, row: Tensor, column: Tensor
    ) -> Tensor:
        """Returns the decoder's token [P 1024] of each person, who attend those of one picture."""
        seen = torch.cat([features, ray_encoding(K, self.grid)], -1)  # [B g g C+99]
        queries = seen[image, row, column] + self.query_row[row] + self.query_column[column]
        start = torch.cat([self.mean_pose, self.mean_betas, self.mean_camera], -1)
        queries = torch.cat([queries, start.expand(len(queries), -1)], -1)
        context = seen.clone()
        context[image, row, column] += self.value_row[row] + self.value_column[column]
        found = [features.new_zeros(0, 1024)]
        for number in range(len(features)):
            mine = image == number
            if mine.any():
                flat = context[number].flatten(0, 1)[None]
                found.append(self.decoder(queries[mine][None], flat)[0])
        return torch.cat(found)

    def decode(self, tokens: Tensor, focal: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reads rotations [P 53 3 3], betas, depth [P 1] (m) and expression off tokens [P 1024].

        Args:
            tokens: of the decoder.
            focal: [P] px, of each person's picture.
        """
        six = self.pose(tokens) + self.mean_pose
        camera = self.camera(tokens) + self.mean_camera
        relative = focal[:, None] / default_focal(self.side)
        depth = (camera[:, :1] * relative).exp().clamp(0, FARTHEST)
        return (
            rotation_6d_to_matrix(six.unflatten(-1, (ROTATIONS, 6))),
            self.betas(tokens) + self.mean_betas,
            depth,
            self.expression(tokens) + self.mean_expression,
        )


def default_focal(side: int) -> float:
    """Returns the focal length (px) of 60 degrees across `side` pixels."""
    return side / (2 * math.tan(math.radians(FOV) / 2))


def peaks(scores: Tensor, threshold: float, kernel: int) -> Tensor:
    """Returns [P 3] of picture, row, column where scores [B g g] are largest around them."""
    largest = F.max_pool2d(scores[:, None], kernel, 1, kernel // 2)[:, 0]
    return ((scores == largest) & (scores >= threshold)).nonzero()


def ray_encoding(K: Tensor, grid: int) -> Tensor:
    """Returns [B grid grid 99]: each patch's viewing ray and its sines and cosines.

    The released networks were trained with (row, column) where (x, y) belongs, so that is what
    is computed here.

    Args:
        K: [B 3 3] px.
        grid: patches on a side.
    """
    centres = (torch.arange(grid, device=K.device) + 0.5) * PATCH
    row, column = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([row, column, torch.ones_like(row)], -1)  # [g g 3]
    rays = torch.einsum("bij,hwj->bhwi", torch.linalg.inv(K), points)
    frequencies = torch.linspace(1, 32, FREQUENCIES, device=K.device)
    phases = (rays[..., None] * (torch.pi * frequencies)).flatten(-2)  # [B g g 48]
    return torch.cat([rays, phases.sin(), phases.cos()], -1)


def load_multi_hmr(
    tensors: dict[str, Tensor], source: str, *, depth: int | None = None
) -> MultiHmr:
    """Builds the network that a released file is of; its size is read off the tensors.

    SMPL-X's buffers are dropped by name.

    Args:
        tensors: official name to tensor.
        source: the file, for errors.
        depth: blocks of the backbone, for tests; None for all of its size.

    Raises:
        AssetError: names or shapes differ.
    """
    try:
        width = tensors["backbone.encoder.patch_embed.proj.weight"].shape[0]
        side = PATCH * len(tensors["x_attention_head.cross_queries_x"])
        betas = len(tensors["x_attention_head.decshape.weight"])
    except KeyError as error:
        raise AssetError(f"{source} is no file of Multi-HMR: it lacks {error}") from error
    if width not in SIZES:
        raise AssetError(f"{source} has a backbone of width {width}, known are {list(SIZES)}")
    layers = {k.split(".")[4] for k in tensors if k.startswith(f"{_LAYERS}.")}
    with torch.device("meta"):
        network = MultiHmr(width, side, num_betas=betas, depth=depth, head_depth=len(layers))
    fill_strictly(network, tensors, source=source, official_name=official_name, ignored=IGNORED)
    return network.eval()


def official_name(name: str) -> str:
    """Returns the released file's name of a weight of `MultiHmr`.

    Example:
        >>> official_name("score.2.bias")
        'mlp_classif.2.bias'
    """
    root, _, rest = name.partition(".")
    if root == "decoder":
        return f"x_attention_head.transformer.{token_decoder.official_name(rest)}"
    if root == "backbone":
        return f"backbone.encoder.{renamed(rest, _BACKBONE)}"
    if root in ("score", "offset"):
        return f"mlp_{'classif' if root == 'score' else 'offset'}.{rest}"
    return f"x_attention_head.{_HEADS[root]}{'.' * bool(rest)}{rest}"


def _mlp(width: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))


_LAYERS = "x_attention_head.transformer.transformer.layers"
_HEADS = {
    "query_row": "cross_queries_x",
    "query_column": "cross_queries_y",
    "value_row": "cross_values_x",
    "value_column": "cross_values_y",
    "mean_pose": "init_body_pose",
    "mean_betas": "init_betas",
    "mean_camera": "init_cam",
    "mean_expression": "init_expression",
    "pose": "decpose",
    "betas": "decshape",
    "camera": "deccam",
    "expression": "decexpression",
}
_BACKBONE = (
    (r"^class_token$", "cls_token"),
    (r"^position$", "pos_embed"),
    (r"^patch\.", "patch_embed.proj."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.scale([12])$", r".ls\1.gamma"),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
)
