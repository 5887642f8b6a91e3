"""OSX (Lin et al., 2023): SMPL-X parameters of one person from a crop, without its body model."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn

from presence.errors import AssetError
from presence.estimation.networks.osx_branches import (
    AttendingFace,
    AttendingHands,
    PlainHands,
    TokenFace,
)
from presence.estimation.networks.osx_parts import (
    BODY_JOINTS,
    GRID,
    BodyRegressor,
    BoxNet,
    PositionNet,
    square_boxes,
)
from presence.models.vit import VisionTransformer
from presence.models.weight_files import fill_strictly, renamed

IMAGE = (512, 384)  # rows and columns of the input, px; the encoder sees every second pixel
TASK_TOKENS = 31
SIZES = {1024: (24, 16), 768: (12, 12)}  # width to (depth, heads): osx_l, osx_b
FARTHEST = (5000.0**2 * 2.5**2 / (256 * 192)) ** 0.5  # m, depth at which the sigmoid ends
Variant = Literal["normal", "wo_decoder", "wo_face_decoder"]


@dataclasses.dataclass(frozen=True)
class OsxOutput:
    """What OSX says about B crops. Rotations are six numbers, rows (x, y) of the first columns.

    Attributes:
        root: [B 6] global rotation in OpenCV axes.
        body: [B 21 6].
        left_hand: [B 15 6] of the mirrored hand: reflect it to get the left one.
        right_hand: [B 15 6]; both relative to MANO's mean pose.
        jaw: [B 6].
        shape: [B 10] SMPL-X betas.
        expression: [B 10] SMPL-X expression.
        camera: [B 3] before the sigmoid of the depth; see `camera_translation`.
        boxes: [B 3 4] left hand, right hand, face, in pixels of the input, x0 y0 x1 y1.
        joints: [B 25 3] body heat maps' expected cells (12, 16, 16).
    """

    root: Tensor
    body: Tensor
    left_hand: Tensor
    right_hand: Tensor
    jaw: Tensor
    shape: Tensor
    expression: Tensor
    camera: Tensor
    boxes: Tensor
    joints: Tensor


class Osx(nn.Module):
    """The network: one transformer over patches and task tokens, then a branch for each part.

    Args:
        variant: `"normal"` has deformable decoders for hands and face, `"wo_face_decoder"` for
            hands only, `"wo_decoder"` has none.
        width: channels of a token, 1024 or 768.
        depth: blocks; None for the released number.
    """

    def __init__(self, variant: Variant, *, width: int = 1024, depth: int | None = None) -> None:
        super().__init__()
        full_depth, heads = SIZES[width]
        self.variant = variant
        self.encoder = VisionTransformer(
            width,
            depth or full_depth,
            heads,
            patch_padding=2,
            grid=GRID,
            class_token=False,
            registers=TASK_TOKENS,
        )
        self.body_position_net = PositionNet(width, BODY_JOINTS, 16)
        self.body_regressor = BodyRegressor(width)
        self.box_net = BoxNet(width + BODY_JOINTS * 16)
        self.hands = PlainHands(width) if variant == "wo_decoder" else AttendingHands(width)
        self.face = AttendingFace(width) if variant == "normal" else TokenFace(width)

    def forward(self, crops: Tensor) -> OsxOutput:
        """Estimates the person in each crop [B 3 512 384], RGB in 0..1, not normalised."""
        tokens, maps = self.encode(crops)
        joints, heat = self.body_position_net(maps)
        root, body, shape, camera = self.body_regressor(tokens, joints)
        centres, sizes = self.box_net(maps, heat)
        boxes = square_boxes(centres, sizes, IMAGE)
        left, right = self.hands(maps, boxes[:, :2], IMAGE)
        expression, jaw = self.face(maps, tokens, boxes[:, 2], IMAGE)
        return OsxOutput(
            root=root,
            body=body.unflatten(-1, (21, 6)),
            left_hand=left.unflatten(-1, (15, 6)),
            right_hand=right.unflatten(-1, (15, 6)),
            jaw=jaw,
            shape=shape,
            expression=expression,
            camera=camera,
            boxes=boxes,
            joints=joints,
        )

    def encode(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the task tokens [B 31 C] and the patches' map [B C 16 12]."""
        (tokens,) = self.encoder.tokens(crops[..., ::2, ::2], [len(self.encoder.blocks) - 1])
        tokens = self.encoder.norm(tokens)
        return tokens[:, :TASK_TOKENS], self.encoder.to_map(tokens, GRID)


def camera_translation(camera: Tensor) -> Tensor:
    """Returns where the body stands before the crop's camera, [... 3] metres, from [... 3].

    The camera has a focal length of 5000 px on a picture of 192 x 256 px and its principal point
    in the middle; the result is the translation of SMPL-X.
    """
    depth = FARTHEST * camera[..., 2:].sigmoid()
    return torch.cat([camera[..., :2], depth], -1)


def load_osx(tensors: dict[str, Tensor], source: str, *, depth: int | None = None) -> Osx:
    """Builds the variant of OSX that a released file holds, in eval mode.

    Args:
        tensors: official name to tensor, what lies below `network`.
        source: the file, for errors.
        depth: blocks, for tests; None for as many as the released network of that width has.

    Raises:
        AssetError: it is no OSX, or names or shapes differ; the message names every one.
    """
    short = {_current(name): value for name, value in tensors.items()}
    position = short.get("encoder.pos_embed")
    if position is None or position.shape[-1] not in SIZES:
        raise AssetError(f"{source} does not fit Osx. missing: encoder.pos_embed of an OSX encoder")
    # The class token's row is added to every patch, as ViTPose does.
    short["encoder.pos_embed"] = position[:, 1:] + position[:, :1]
    with torch.device("meta"):
        network = Osx(variant_of(short), width=position.shape[-1], depth=depth)
    fill_strictly(network, short, source=source, official_name=official_name, ignored=IGNORED)
    return network.eval()


def variant_of(names: dict[str, Tensor]) -> Variant:
    """Returns which network the names of a file belong to."""
    roots = {name.partition(".")[0] for name in names}
    if "hand_decoder" not in roots:
        return "wo_decoder"
    return "normal" if "face_decoder" in roots else "wo_face_decoder"


def official_name(name: str) -> str:
    """Returns the released files' name of a weight of `Osx`.

    Example:
        >>> official_name("encoder.blocks.3.attention.out.weight")
        'encoder.blocks.3.attn.proj.weight'
    """
    renames = _ENCODER if name.startswith("encoder.") else _BRANCHES
    return renamed(name, renames)


def _current(name: str) -> str:
    name = name.removeprefix("module.")
    root, dot, rest = name.partition(".")
    return f"{_OLD_ROOTS.get(root, root)}{dot}{rest}"


_OLD_ROOTS = {
    "backbone": "encoder",
    "body_rotation_net": "body_regressor",
    "hand_rotation_net": "hand_regressor",
}
# The body model, and what only training uses of the decoders: a second trunk, flows, coordinates.
IGNORED = (
    r"smplx_layer\..*",
    r"(hand|face)_decoder\.backbone\..*",
    r"(hand|face)_decoder\.keypoint_head\.(enc_flow|dec_flow|fc_coord|fc_sigma).*",
    r"(hand|face)_decoder\.keypoint_head\.transformer\.(fc_coord|fc_sigma|pos_trans).*",
)
_ENCODER = (
    (r"\.registers$", ".task_tokens"),
    (r"\.position$", ".pos_embed"),
    (r"\.patch\.", ".patch_embed.proj."),
    (r"^encoder\.norm\.", "encoder.last_norm."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
)
_TRANSFORMER = r"\1_decoder.keypoint_head.transformer."
_BRANCHES = (
    (r"^(hand|face)s?\.(roi_net|position_net|regressor|decoder)\.", r"\1_\2."),
    (r"^(hand|face)_decoder\.neck\.", r"\1_decoder.neck.convs."),
    (r"^(hand|face)_decoder\.level$", _TRANSFORMER + "level_embeds"),
    (r"^(hand|face)_decoder\.query_position$", _TRANSFORMER + "pos_embed.weight"),
    (r"^(hand|face)_decoder\.layers\.", _TRANSFORMER + "decoder.layers."),
    (r"(layers\.\d+)\.attention\.", r"\1.attentions.0.attn."),
    (r"(layers\.\d+)\.deformable\.", r"\1.attentions.1."),
    (r"\.offsets\.(\w+)$", r".sampling_offsets.\1"),
    (r"attentions\.1\.weights\.", "attentions.1.attention_weights."),
    (r"\.value_weight$", ".value_proj_weight.weight"),
    (r"\.value_bias$", ".value_proj_bias.weight"),
    (r"attentions\.1\.out\.", "attentions.1.output_proj."),
    (r"(layers\.\d+)\.mlp\.0\.", r"\1.ffns.0.layers.0.0."),
    (r"(layers\.\d+)\.mlp\.2\.", r"\1.ffns.0.layers.1."),
)
