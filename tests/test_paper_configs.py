"""The paper's configuration and its ablations: numbers, parameter counts, and that they build."""

from pathlib import Path

import pytest
import torch

from presence.bodies import load_body
from presence.config import load_config
from presence.engine.settings import TrainSettings
from presence.models import AvatarModel
from presence.projection import build_surface
from presence.registry import DATASETS, DECODERS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
PAPER = CONFIGS / "dualuv_halfbody_sapiens1b.py"
# Table 2: what each ablation changes, written out.
CHANGES = {
    "full": {},
    "blocks_2": {"model.decoder.blocks": 2},
    "blocks_4": {"model.decoder.blocks": 4},
    "no_shell": {"model.decoder.shell_size": 0},
    "share_33": {
        "data.train.sources.rendered.num_subjects": 49_500,
        "data.train.sources.generated.share": 0.33,
    },
    "share_3": {
        "data.train.sources.rendered.num_subjects": 4_500,
        "data.train.sources.generated.share": 0.03,
    },
    "data_rendered": {"data.train.weights.generated": 0.0},
    "data_generated": {"data.train.weights.rendered": 0.0},
    "data_generated_videos": {
        "data.train.weights.rendered": 0.0,
        "data.train.sources.generated.labels": ["front"],
    },
}
TINY = [
    "model.map_size=64",
    "model.encoder.size=0.3b",
    "model.encoder.depth=1",
    "model.encoder.weights=random",
    "model.encoder.image_size=64",
    "model.encoder.dtype=float32",
    "model.projector.core_size=8",
    "model.projector.shell_size=4",
    "model.decoder.core_size=8",
    "model.decoder.width=64",
    "model.decoder.texel_channels=1",
    "model.decoder.heads=4",
    "model.reconstruction.lpips=0.0",
]


def flat(node, prefix=""):
    if not isinstance(node, dict):
        return {prefix[:-1]: node}
    return {
        k: v for name, value in node.items() for k, v in flat(value, f"{prefix}{name}.").items()
    }


def values(path):
    config = load_config(path)
    return {k: v for name in config for k, v in flat({name: config[name]}).items()}


def test_there_is_a_file_for_every_row():
    assert {path.stem for path in (CONFIGS / "ablations").glob("*.py")} == set(CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_an_ablation_changes_what_it_says_and_nothing_else(name):
    full, ablation = values(PAPER), values(CONFIGS / "ablations" / f"{name}.py")
    changed = {k: v for k, v in ablation.items() if k not in full or full[k] != v}
    assert changed == CHANGES[name]
    assert set(full) <= set(ablation)


def test_the_papers_numbers():
    config = load_config(PAPER)
    settings = TrainSettings.from_config(config)
    assert settings.schedule.batch_size == 8 and settings.schedule.accumulate == 1
    assert settings.precision == "bf16" and settings.optimizer.clip == 1.0
    decoder, encoder = config["model"]["decoder"], config["model"]["encoder"]
    assert (decoder["core_size"], decoder["width"], decoder["blocks"]) == (64, 1024, 8)
    assert (decoder["heads"], decoder["merge"], decoder["texel_rgb"]) == (16, 1, False)
    assert (encoder["size"], encoder["image_size"], encoder["frozen"]) == ("1b", 1024, True)
    assert config["model"]["map_size"] == 512


def test_the_decoder_has_less_than_a_tenth_of_a_billion_parameters():
    config, body = load_config(PAPER), load_body("annyx")
    surface = build_surface(body, 512)
    with torch.no_grad():
        decoder = DECODERS.build(
            config["model"]["decoder"], body=body, surface=surface, in_channels=1536
        )
    count = sum(p.numel() for p in decoder.parameters())
    # Written out: 8 blocks of (4 + 2 * 3) W^2 weights, embeddings and input layers.
    blocks = 8 * 10 * 1024**2
    branches = (64**2 + 32**2) * 1536 + 2 * 1537 * 1024
    assert blocks + branches < count < 1.01 * (blocks + branches)
    assert count < 0.1e9
    assert isinstance(decoder.expand, torch.nn.Identity)  # unpatchify is a reshape


@pytest.mark.parametrize("name", ["full", "blocks_2", "no_shell"])
def test_ablations_build_and_learn_at_a_small_size(name):
    shell = [] if name == "no_shell" else ["model.decoder.shell_size=4"]
    config = load_config(CONFIGS / "ablations" / f"{name}.py", [*TINY, *shell])
    model = AvatarModel.from_config(config["model"])
    assert len(model.decoder.blocks) == (2 if name == "blocks_2" else 8)
    assert hasattr(model.decoder, "shell_position") == (name != "no_shell")
    people = DATASETS.build(
        dict(type="ProceduralPeopleDataset", size=48, supersample=1), body=model.body
    )
    terms = model.loss(people.batch(0, 1))
    sum(v for k, v in terms.items() if k.startswith("loss_")).backward()
    assert model.decoder.core_position.grad.abs().max() > 0
    assert not any(p.requires_grad for p in model.encoder.parameters())


def test_training_data_build_with_a_folder_in_place(tmp_path):
    from presence.datasets import export_multiview, split_of
    from presence.rasterize import build_rasterizer
    from presence.synthesis import ProceduralPeople

    body = load_body("annyx")
    people = ProceduralPeople(body, build_rasterizer("cpu"), supersample=1)
    seed = next(k for k in range(40) if split_of(f"{k:06d}") == "train")
    export_multiview(people, [seed], tmp_path, size=64, turns=(0.0, 90.0))
    overrides = [
        f"data.train.sources.generated.root={tmp_path}",
        "data.train.sources.generated.size=48",
        "data.train.sources.rendered.size=48",
    ]
    config = load_config(PAPER, overrides)
    data = DATASETS.build(config["data"]["train"], body=body)
    batch = data.batch(0, 8, "cpu")
    assert batch.batch_shape == (8,)
    assert len(set(batch.subject.tolist())) > 1
