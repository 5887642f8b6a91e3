"""Table 1 on miniature copies of the data sets, with tiny networks and a stand-in tracker."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from presence.benchmark.paper import TABLE_1
from presence.bodies import load_body
from presence.config import load_config
from presence.engine.checkpoint import build_model
from presence.interfaces import Tracker
from presence.io.images import save_png
from presence.io.video import write_video
from presence.registry import BENCHMARKS, TRACKERS
from presence.structures import Camera, Tracking

CONFIGS = Path(__file__).parents[2] / "configs"
SIDE = 96
TINY = [
    "precision=fp32",
    "device=cpu",
    "model.map_size=64",
    "model.encoder={type: CompactEncoder, widths: [8, 16, 24], conv_blocks: [1, 1], "
    "attention_blocks: 1, heads: 2, out_channels: 32}",
    "model.reconstruction.lpips=0",
]
LAM = [
    *TINY,
    "model.decoder={type: LAMDecoder, parts: [face], width: 48, layers: 1, heads: 2, hidden: 24}",
]
COPY = [*TINY, "model.decoder={type: CopyDecoder}"]


class StandInTracker(Tracker):
    """Puts the average person's head before the camera, and takes all that is not black for it."""

    def track(self, portrait):
        body = load_body("annyx")
        params = body.default_params()
        height, width = portrait.size
        head = body(params).joints[15]
        eye = head + torch.tensor([0.0, 0.0, 2.0])
        alpha = (portrait.rgb.amax(0, keepdim=True) > 0.15).float()
        camera = Camera.look_at(eye, head, 0.3, width, height)
        return portrait.replace(alpha=alpha), Tracking(params, camera)

    def __call__(self, portrait):
        return self.track(portrait)[1]


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    if "StandInTracker" not in TRACKERS.names():
        TRACKERS.register()(StandInTracker)


def disc(red, height=SIDE, width=SIDE):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < 30**2
    return torch.tensor([red, 0.2, 0.5])[:, None, None] * inside


def film(path, reds):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [disc(red) for red in reds], 10, quality=4)


def make_wild(root):
    for video in ("a1", "b2"):
        film(root / f"{video}_000005_000095.mp4", (0.3, 0.9, 0.9))


def make_wan(root):
    for clip in ("one", "two"):
        film(root / f"{clip}.mp4", (0.4, 0.8, 0.8))


def make_full(root):
    for name in ("000001", "000002"):
        for folder, picture in (("no_segment", disc(0.6)), ("segments", torch.ones(1, SIDE, SIDE))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            save_png(root / folder / f"{name}.png", picture)


def make_head(root):
    import h5py

    for actor in ("0026", "0041"):
        for kind, entry in (("raw", "color"), ("anno", "mask")):
            path = root / kind / actor / f"{actor}_s1_all_{kind}.smc"
            path.parent.mkdir(parents=True, exist_ok=True)
            with h5py.File(path, "w") as file:
                file.create_group("Camera").attrs["resolution"] = (SIDE, SIDE)
                for frame in range(3):
                    picture = (
                        disc(0.5 + 0.1 * frame) if kind == "raw" else torch.ones(3, SIDE, SIDE)
                    )
                    pixels = (picture * 255).byte().permute(1, 2, 0).numpy()
                    memory = io.BytesIO()
                    Image.fromarray(pixels).save(memory, "PNG")
                    file[f"Camera/25/{entry}/{frame}"] = np.frombuffer(memory.getvalue(), np.uint8)


MAKE = dict(wild=make_wild, wan=make_wan, head=make_head, full=make_full)


def weights_of(config, overrides, path):
    """Weights as they are drawn, in place of released ones."""
    torch.manual_seed(0)
    model = build_model(load_config(CONFIGS / config, overrides)["model"])
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)


@pytest.fixture
def small(tmp_path):
    """Builds the shipped benchmark with two tiny rows in place of the released ones."""
    weights_of("lam_head.py", LAM, tmp_path / "lam.safetensors")
    weights_of("copy_halfbody.py", COPY, tmp_path / "copy.safetensors")

    def from_roots(**roots):
        path = CONFIGS / "benchmarks" / "table1.py"
        config = load_config(path)
        section = config["benchmark"]
        for name, options in section.protocol.sets.items():
            options.update(
                root=str(roots[name]), count=2, size=64, cache=str(tmp_path / "cache"),
                tracker=dict(type="StandInTracker"),
            )  # fmt: skip
        rows = section["rows"]
        for name in list(rows):
            if name not in ("LAM", "Dual-UV"):
                del rows[name]
        rows["LAM"].update(
            config="../lam_head.py", overrides=LAM, weights=str(tmp_path / "lam.safetensors")
        )
        rows["Dual-UV"].update(
            config="../copy_halfbody.py", overrides=COPY, weights=str(tmp_path / "copy.safetensors")
        )
        section.protocol.metrics = [m for m in section.protocol.metrics if m["type"] != "LPIPS"]
        return BENCHMARKS.build(section, config=config, folder=path.parent)

    return from_roots


def paper_cells(text, title, row):
    """The last three cells of a row in the table under a heading."""
    part = text.split(f"## {title}\n")[1].split("\n## ")[0]
    line = next(line for line in part.splitlines() if line.startswith(f"| {row} "))
    return tuple(float(cell.strip(" *")) for cell in line.split("|")[-4:-1])


def test_all_sets_are_measured_beside_their_columns_of_the_paper(small, here, results, tmp_path):
    pytest.importorskip("h5py", reason="RenderMe-360's files need the package h5py")
    for name, make in MAKE.items():
        make(tmp_path / name)
    report = small(**{name: tmp_path / name for name in MAKE}).run(tmp_path / "out")

    assert not report.failures
    for result in results(tmp_path / "out").values():
        assert {n: s["subjects"] for n, s in result["sets"].items()} == dict.fromkeys(MAKE, 2)
        assert result["training"] == {} and result["parameters"] > 0
    text = (tmp_path / "out/report.md").read_text()
    columns = dict(wild="Upper-Wild", wan="Upper-Wan", full="Full-Body")
    for name, column in columns.items():
        assert paper_cells(text, f"Set: {name}", "Dual-UV") == TABLE_1[column]["Ours"]
        assert f"paper: {column}" in text
    assert paper_cells(text, "Set: head", "LAM") == (17.19, 0.7526, 0.2207)  # the face alone
    heads = [result["sets"]["head"]["means"] for result in results(tmp_path / "out").values()]
    assert all(0 < means["novel/psnr_head"] < 60 for means in heads)
    assert "Budget" not in text  # nothing is trained
    rows = list(csv.DictReader((tmp_path / "out/results.csv").open()))
    assert {row["set"] for row in rows if row["psnr"]} == set(MAKE)


def test_an_absent_set_says_where_to_get_it_and_is_measured_once_it_is_there(
    small, here, results, tmp_path
):
    make_full(tmp_path / "full")
    roots = {name: tmp_path / name for name in MAKE}
    report = small(**roots).run(tmp_path / "out")

    assert set(report.failures) == {"set wild", "set wan", "set head"}
    for name, where in (
        ("wild", "form at fudan-generative-vision.github.io/OpenHumanVid"),
        ("wan", "clips of your own"),
        ("head", "opendatalab.com/OpenXDLab/RenderMe-360"),
    ):
        assert f"Get it: {where}" in report.failures[f"set {name}"]
        assert str(tmp_path / name) in report.failures[f"set {name}"]
        assert f"- set {name}: " in (tmp_path / "out/report.md").read_text()
    assert list(results(tmp_path / "out")["LAM-seed0"]["sets"]) == ["full"]

    make_wan(tmp_path / "wan")
    here.clear()
    again = small(**roots).run(tmp_path / "out")
    assert set(again.failures) == {"set wild", "set head"} and len(here) == 2
    assert set(results(tmp_path / "out")["LAM-seed0"]["sets"]) == {"wan", "full"}


def test_without_any_set_a_row_fails_with_all_reasons(small, here, tmp_path):
    report = small(**{name: tmp_path / name for name in MAKE}).run(tmp_path / "out")
    reason = report.failures["LAM seed 0"]
    assert "no set of benchmark.protocol.sets is here" in reason and "OpenHumanVid" in reason


def test_the_sets_are_the_papers(build):
    """Section 4.2: 100 and 200 clips, 50 talking clips, 100 subjects."""
    sweep = build(CONFIGS / "benchmarks" / "table1.py")
    counts = {name: (o["type"], o["count"]) for name, o in sweep.protocol["sets"].items()}
    assert counts == dict(
        wild=("OpenHumanVid", 100),
        wan=("ClipFolder", 200),
        head=("RenderMe360", 50),
        full=("SHHQ", 100),
    )
    assert sweep.budget is None and not any(row.trains for row in sweep.rows.values())
    papers = {row.paper for row in sweep.rows.values()}
    assert papers == {method for column in TABLE_1.values() for method in column}
    for name, row in sweep.rows.items():
        (job,) = sweep._plan(name, row, [0])
        assert Path(job.weights).suffix == ".safetensors" and not job.train
