"""HaMeR (Pavlakos et al., 2024): MANO parameters of the right hand in a crop, without MANO."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from presence.estimation.networks import token_decoder
from presence.estimation.networks.token_decoder import TokenDecoder
from presence.geometry import rotation_6d_to_matrix
from presence.models.vit import VisionTransformer
from presence.models.weight_files import fill_strictly, renamed

SIDE, COLUMNS = 256, slice(32, -32)  # px; the network sees the middle 192 columns
FOCAL = 5000.0  # px, of the crop's camera
IGNORED = (r"mano\..*", r"discriminator\..*", r"initialized")


@dataclasses.dataclass(frozen=True)
class HamerOutput:
    """What HaMeR says about B crops of right hands.

    Attributes:
        orientation: [B 3 3] of the wrist, in OpenCV axes.
        fingers: [B 15 3 3] relative to their parents, absolute (flat hand = identity).
        betas: [B 10] MANO's.
        camera: [B 3] scale, tx, ty of the crop.
    """

    orientation: Tensor
    fingers: Tensor
    betas: Tensor
    camera: Tensor


class Hamer(nn.Module):
    """ViT-H over the crop, and one token that attends its features.

    Args:
        depth: blocks of the backbone; the released network has 32.
        head_depth: blocks of the head; the released network has 6.
    """

    pose: nn.Linear
    betas: nn.Linear
    camera: nn.Linear
    mean_pose: Tensor
    mean_betas: Tensor
    mean_camera: Tensor

    def __init__(self, depth: int = 32, head_depth: int = 6) -> None:
        super().__init__()
        self.backbone = PoseViT(1280, depth, 16)
        self.decoder = TokenDecoder(1, 1280, depth=head_depth, head_width=64)
        for name, size in (("pose", 96), ("betas", 10), ("camera", 3)):
            self.add_module(name, nn.Linear(1024, size))
            self.register_buffer(f"mean_{name}", torch.zeros(1, size))

    def forward(self, crops: Tensor) -> HamerOutput:
        """Estimates from normalised crops [B 3 256 256] of right hands."""
        return self.decode(self.token(self.backbone(crops[..., COLUMNS])))

    def token(self, features: Tensor) -> Tensor:
        """Returns the head's token [B 1024] for features [B 1280 16 12]."""
        start = features.new_zeros(len(features), 1, 1)
        return self.decoder(start, features.flatten(2).transpose(1, 2))[:, 0]

    def decode(self, token: Tensor) -> HamerOutput:
        """Reads the parameters off the token [B 1024]."""
        six = self.pose(token) + self.mean_pose
        rotations = rotation_6d_to_matrix(six.unflatten(-1, (16, 6)))
        return HamerOutput(
            rotations[:, 0],
            rotations[:, 1:],
            self.betas(token) + self.mean_betas,
            self.camera(token) + self.mean_camera,
        )


class PoseViT(VisionTransformer):
    """ViTPose's backbone (Xu et al., 2022): 256 x 192 pixels, patches padded by 2.

    Its class token is gone, but its position is still added to every patch's.

    Args:
        width: channels of a token.
        depth: blocks.
        heads: attention heads.
    """

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__(width, depth, heads, patch_padding=2, grid=(16, 12), class_token=False)
        self.position = nn.Parameter(torch.randn(1, 16 * 12 + 1, width) * 0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Returns the tokens [B 192 C] that enter the first block."""
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        return tokens + self.position[:, 1:] + self.position[:, :1]


def load_hamer(
    tensors: dict[str, Tensor], source: str, *, depth: int = 32, head_depth: int = 6
) -> Hamer:
    """Builds the network from a released file's tensors.

    MANO's buffers and the discriminator of training are dropped by name.

    Raises:
        AssetError: names or shapes differ.
    """
    with torch.device("meta"):
        network = Hamer(depth, head_depth)
    fill_strictly(network, tensors, source=source, official_name=official_name, ignored=IGNORED)
    return network.eval()


def official_name(name: str) -> str:
    """Returns the released file's name of a weight of `Hamer`.

    Example:
        >>> official_name("decoder.position")
        'mano_head.transformer.pos_embedding'
    """
    root, _, rest = name.partition(".")
    if root == "decoder":
        return f"mano_head.transformer.{token_decoder.official_name(rest)}"
    if root != "backbone":
        return f"mano_head.{renamed(name, _HEADS)}"
    return f"backbone.{renamed(rest, _BACKBONE)}"


_HEADS = (
    (r"^mean_pose$", "init_hand_pose"),
    (r"^mean_betas$", "init_betas"),
    (r"^mean_camera$", "init_cam"),
    (r"^pose\.", "decpose."),
    (r"^betas\.", "decshape."),
    (r"^camera\.", "deccam."),
)
_BACKBONE = (
    (r"^position$", "pos_embed"),
    (r"^patch\.", "patch_embed.proj."),
    (r"^norm\.", "last_norm."),
    (r"\.attention\.qkv\.", ".attn.qkv."),
    (r"\.attention\.out\.", ".attn.proj."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
)
