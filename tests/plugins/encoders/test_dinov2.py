"""DINOv2 against outputs of the official code, against timm, and what its options do."""

from __future__ import annotations

import pytest
import torch
from official_weights import Golden, draw

from presence.errors import AssetError, ConfigError
from presence.models.vit import VisionTransformer
from presence.models.weight_files import fill_strictly
from presence.registry import ENCODERS
from presence.structures import Portrait
from presence_plugins.encoders.dinov2 import (
    FUSED_LAYERS,
    SIZES,
    DINOv2Encoder,
    LayerFusion,
    build_dinov2,
    official_name,
)

PARITY = 1e-5


def _filled(golden, make):
    with torch.device("meta"):
        net = make()
    tensors = golden.weights()
    fill_strictly(
        net, tensors, source="golden", official_name=official_name, ignored=["mask_token"]
    )
    return net.eval()


@pytest.fixture(scope="module")
def small():
    golden = Golden("dinov2_vits14")
    return golden, _filled(golden, lambda: build_dinov2("s"))


@pytest.mark.parametrize("case", ["518x518", "448x448", "336x476"])
def test_vits14_equals_the_official_network(small, case):
    golden, net = small
    with torch.no_grad():
        first, seventh, last = net.tokens(golden.image(case), [0, 6, 11])
        final = net.norm(last)
    assert golden.error(f"{case}.block0", first[:, 1:]) < PARITY
    assert golden.error(f"{case}.block6", seventh[:, 1:]) < PARITY
    assert golden.error(f"{case}.patch_tokens", final[:, 1:]) < PARITY
    assert golden.error(f"{case}.cls_token", final[:, 0]) < PARITY


@pytest.mark.slow
def test_vitl14_with_registers_equals_the_official_network():
    golden = Golden("dinov2_vitl14_reg4")
    net = _filled(golden, lambda: build_dinov2("l", registers=True))
    with torch.no_grad():
        for case in ("518x518", "280x420"):  # one block shows whether the positions are right
            (first,) = net.tokens(golden.image(case), [0])
            assert golden.error(f"{case}.block0", first[:, 5:]) < PARITY
        first, thirteenth, last = net.tokens(golden.image("392x392"), [0, 12, 23])
        final = net.norm(last)
    assert golden.error("392x392.block0", first[:, 5:]) < PARITY
    assert golden.error("392x392.block12", thirteenth[:, 5:]) < PARITY
    assert golden.error("392x392.patch_tokens", final[:, 5:]) < PARITY
    assert golden.error("392x392.cls_token", final[:, 0]) < PARITY
    assert golden.error("392x392.register_tokens", final[:, 1:5]) < PARITY


def test_fusion_equals_lhms_head_tower():
    golden = Golden("lhm_head")
    salt, weights = golden.manifest["salt"], golden.weights()
    net = VisionTransformer(
        48,
        24,
        3,
        patch=14,
        grid=(37, 37),
        registers=4,
        layer_scale=True,
        position_rule="bicubic_antialias",
    )
    fusion = LayerFusion(48, 4, 64)
    for module, prefix, rename in (
        (net, "encoder.model.", official_name),
        (fusion, "encoder.fusion_head.", str),
    ):
        part = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        fill_strictly(module, part, source="golden", official_name=rename)
    shape = golden.manifest["inputs"]["head_image"][0]
    picture = draw(salt, "input:head_image", shape, "normal:0:1").sigmoid()
    with torch.no_grad():
        maps = net.maps(picture, FUSED_LAYERS[24])
        fused = fusion(maps)
    tokens = torch.stack([m.flatten(2).transpose(1, 2) for m in maps])
    assert golden.error("dino_layers", tokens) < PARITY
    assert golden.error("head_feature_map", fused) < PARITY


@pytest.mark.parametrize(
    ("size", "registers", "picture"),
    [("b", False, (518, 518)), ("g", True, (140, 98))],  # timm resizes only the latter's positions
)
def test_sizes_without_golden_numbers_equal_timm(size, registers, picture):
    timm = pytest.importorskip("timm", reason="timm is an optional second implementation")
    name = {"b": "base", "g": "giant"}[size]
    variant = f"vit_{name}_patch14_{'reg4_' if registers else ''}dinov2"
    theirs = timm.create_model(
        variant, pretrained=False, num_classes=0, depth=1, dynamic_img_size=True
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.03 + 0.1 * (p.ndim == 1))
    ours = build_dinov2(size, registers=registers, depth=1)
    renamed = {
        k.replace("reg_token", "register_tokens")
        .replace("mlp.fc1", "mlp.w12" if size == "g" else "mlp.fc1")
        .replace("mlp.fc2", "mlp.w3" if size == "g" else "mlp.fc2"): v
        for k, v in theirs.state_dict().items()
    }
    if registers:  # timm keeps the class token's position inside the token
        renamed["pos_embed"] = torch.cat(
            [torch.zeros_like(renamed["cls_token"]), renamed["pos_embed"]], 1
        )
    fill_strictly(ours, renamed, source=variant, official_name=official_name)
    images = torch.randn(1, 3, *picture, generator=generator)
    with torch.no_grad():
        expected = theirs.eval().forward_features(images)[:, ours.prefix :]
        got = ours(images).flatten(2).transpose(1, 2)
    assert (got - expected).abs().max() < 2e-5 * expected.abs().max()


def _portrait(batch=2, height=56, width=42):
    generator = torch.Generator().manual_seed(7)
    rgb = torch.rand(batch, 3, height, width, generator=generator)
    return Portrait(rgb, (torch.rand(batch, 1, height, width, generator=generator) > 0.5).float())


def _file(tmp_path, depth=2, change=lambda tensors: tensors):
    torch.manual_seed(1)
    net = build_dinov2("s", depth=depth)
    tensors = {official_name(k): v for k, v in net.state_dict().items()}
    tensors["mask_token"] = torch.zeros(1, 384)
    torch.save(change(tensors), tmp_path / "vits14.pth")
    return net, str(tmp_path / "vits14.pth")


def test_a_file_becomes_an_encoder(tmp_path):
    net, path = _file(tmp_path)
    encoder = ENCODERS.build(
        dict(
            type="DINOv2Encoder",
            size="s",
            registers=False,
            depth=2,
            weights=path,
            image_size=56,
            dtype="float32",
        )
    )
    portrait = _portrait()
    features = encoder(portrait).grid
    assert features.shape == (2, 384, 4, 3) and features.dtype == torch.float32
    rgb = portrait.rgb * portrait.alpha + 1 - portrait.alpha
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = net((rgb - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


def test_every_wrong_name_of_a_file_is_named(tmp_path):
    def spoil(tensors):
        for block in (0, 1):
            del tensors[f"blocks.{block}.attn.proj.bias"]
        tensors["norm.weight"] = torch.ones(5)
        tensors["norm.extra"] = torch.ones(5)
        return tensors

    _, path = _file(tmp_path, change=spoil)
    with pytest.raises(AssetError) as error:
        DINOv2Encoder(size="s", registers=False, depth=2, weights=path)
    assert str(error.value) == (
        "vits14.pth does not fit VisionTransformer. missing: blocks.{0-1}.attn.proj.bias; "
        "left over: norm.extra; of another shape: norm.weight is [5], not [384]"
    )


def test_registers_of_the_file_and_of_the_option_must_agree(tmp_path):
    _, path = _file(tmp_path)
    with pytest.raises(AssetError, match="missing: register_tokens"):
        DINOv2Encoder(size="s", registers=True, depth=2, weights=path)


def test_fused_layers_train_over_a_frozen_network():
    encoder = DINOv2Encoder(
        size="s", depth=12, fused="default", out_channels=5, weights="random", image_size=28
    )
    assert encoder.layers == (2, 5, 8, 11) and encoder.out_channels == 5
    assert {name.split(".")[0] for name, _ in encoder.named_parameters()} == {"fusion"}
    features = encoder.train()(_portrait()).grid
    assert features.shape == (2, 5, 2, 2)
    features.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert {key.split(".")[0] for key in encoder.state_dict()} == {"fusion"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(size="xl"), "size='xl' is unknown.*Available: s, b, l, g"),
        (dict(image_size=512), "multiples of the patch side 14, such as 504"),
        (dict(fused=(1, 0)), r"fused=\[1, 0\] should ascend within 0..1"),
        (dict(fused=(0, 2)), r"within 0..1"),
        (dict(fused="default"), "depth=2 has no default layers"),
        (dict(out_channels=9), "needs `fused`"),
        (dict(dtype="bf16"), "dtype='bf16' is unknown. Did you mean `bfloat16`"),
        (dict(background="wite"), "Did you mean `white`"),
    ],
)
def test_wrong_options_are_explained(options, said):
    with pytest.raises(ConfigError, match=said):
        DINOv2Encoder(**{**dict(size="s", depth=2, weights="random"), **options})


def test_every_size_has_its_published_parameter_count():
    published = {"s": 22e6, "b": 87e6, "l": 304e6, "g": 1137e6}  # of the project's model table
    for size in SIZES:
        with torch.device("meta"):
            count = sum(p.numel() for p in build_dinov2(size).parameters())
        assert abs(count / published[size] - 1) < 0.01
