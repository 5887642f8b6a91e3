"""Names of GUAVA's weights in its released files."""

from __future__ import annotations

from presence.models.weight_files import renamed
from presence_plugins.decoders.styleunet import RENAMES as STYLEUNET_RENAMES


def official_name(name: str) -> str:
    """Returns the released file's name of a weight of `GUAVADecoder`, its entry in front.

    Example:
        >>> official_name("texels.heads.rotation.2.weight")
        'model.uv_point_decoder.rot_head.2.weight'
        >>> official_name("refiner.first.bias")
        'render_model.nerual_refiner.conv_body_first.bias'
    """
    for part, entry in _STYLEUNETS.items():
        if name.startswith(part):
            name = name.removeprefix(part)
            return entry + renamed(name, STYLEUNET_RENAMES)
    return f"model.{renamed(name, _RENAMES)}"


# The frozen encoder, both bodies, the mesh renderer and constants; and the unused unit of the
# coarsest fusion stage.
IGNORED = (
    r"model\.(dino_encoder\.dino_model|ehm|smplx|mesh_renderer)\..*",
    r"model\.(xy_image_coord|v_template|laplacian_matrix)",
    r"model\.dino_encoder\.refinenet\.0\.resConfUnit1\..*",
)
_STYLEUNETS = {
    "inpaint.": "model.uv_feature_decoder.",
    "refiner.": "render_model.nerual_refiner.",
}
_RENAMES = (
    (r"^vertex_features$", "vertex_base_feature"),
    (r"^uv_features$", "uv_base_feature"),
    (r"^to_global\.", "global_feature_mapping."),
    (r"^to_style\.", "uv_style_mapping."),
    (r"^vertices\.features\.", "vertex_gs_decoder.feature_layers."),
    (r"^vertices\.heads\.(\w+)\.", r"vertex_gs_decoder.\1_layers."),
    (r"^texels\.features\.", "uv_point_decoder.feature_conv."),
    (r"^texels\.heads\.rotation\.", "uv_point_decoder.rot_head."),
    (r"^texels\.heads\.position\.", "uv_point_decoder.local_pos_head."),
    (r"^texels\.heads\.(\w+)\.", r"uv_point_decoder.\1_head."),
    (r"^pyramid\.project\.", "dino_encoder.projects."),
    (r"^pyramid\.resize\.", "dino_encoder.resize_layers."),
    (r"^pyramid\.level\.", "dino_encoder.layer_rn."),
    (r"^pyramid\.fuse\.(\d)\.unit", r"dino_encoder.refinenet.\1.resConfUnit"),
    (r"^pyramid\.fuse\.(\d)\.out\.", r"dino_encoder.refinenet.\1.out_conv."),
    (r"^pyramid\.low\.", "dino_encoder.project_l."),
    (r"^pyramid\.detail\.", "dino_encoder.fuse_l."),
    (r"^pyramid\.skip\.", "dino_encoder.skip_l."),
    (r"^pyramid\.to_uv\.", "dino_encoder.output_conv."),
    (r"^pyramid\.to_vertex\.", "dino_encoder.output_conv_2."),
)
