"""The evaluation protocol on data whose numbers are known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from presence.evaluation import PSNR, Evaluation, evaluate
from presence.evaluation.evaluator import VIEWS
from presence.evaluation.metrics import Metric
from presence.evaluation.pictures import COLUMNS, side_by_side
from presence.evaluation.protocol import run_test
from presence.evaluation.report import markdown_table, write_json
from presence.structures import Rendering, stack
from presence.testing.toy_training import ToyPeople, toy_config, toy_sample


class DimSource:
    """Discs at 80% brightness, so that adding an error never saturates."""

    def __init__(self, count):
        self.people = ToyPeople(num_subjects=count)

    def __len__(self):
        return len(self.people)

    def __getitem__(self, index):
        sample = self.people[index]
        views = {}
        for key in ("reference", "target"):
            view = getattr(sample, key)
            views[key] = view.replace(portrait=view.portrait.replace(rgb=view.portrait.rgb * 0.8))
        return sample.replace(**views)


class Exact(torch.nn.Module):
    """Adds 0.1 to the input view and 0.01 to the novel view of the true pictures."""

    def predict(self, sample):
        views = {}
        for key, error in (("reference", 0.1), ("target", 0.01)):
            truth = getattr(sample, key).portrait
            rgb = (truth.rgb + error) * truth.alpha
            views[key] = Rendering(rgb, truth.alpha, torch.zeros_like(truth.alpha))
        return views


@pytest.mark.parametrize("batch_size", [1, 3])
def test_views_are_measured_separately(batch_size):
    model = Exact().train()
    result = evaluate(model, DimSource(5), 5, [PSNR()], batch_size=batch_size)
    assert model.training  # as it was
    assert result.means == pytest.approx({"input/psnr": 20.0, "novel/psnr": 40.0}, abs=1e-3)
    assert [row["subject"] for row in result.rows if row["view"] == "input"] == [0, 1, 2, 3, 4]
    assert result.subjects == 5


def test_a_sample_without_a_second_view_has_no_novel_row():
    class OneView(DimSource):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            return sample.replace(target=sample.reference) if index == 1 else sample

    result = evaluate(Exact(), OneView(3), 3, [PSNR()], batch_size=2)
    views = [(row["subject"], row["view"]) for row in result.rows]
    assert (1, "input") in views and (1, "novel") not in views and len(views) == 5


def test_processes_share_the_samples():
    whole = evaluate(Exact(), DimSource(5), 5, [PSNR()])
    parts = [evaluate(Exact(), DimSource(5), 5, [PSNR()], rank=rank, world=2) for rank in (0, 1)]
    assert [part.subjects for part in parts] == [3, 2]  # ungathered: there is no process group
    joined = sorted((r for p in parts for r in p.rows), key=lambda r: (r["index"], r["view"]))
    assert joined == whole.rows


def test_a_missing_metric_is_reported_and_not_replaced():
    class Gone(Metric):
        name, label = "gone", "Gone"

        def missing(self):
            return "its weights are on the moon"

        def __call__(self, prediction, target, mask):
            raise AssertionError("must not be called")

    result = evaluate(Exact(), DimSource(2), 2, [PSNR(), Gone()])
    assert result.missing == {"gone": "its weights are on the moon"}
    assert "gone" not in result.rows[0]
    assert "Not computed: gone: its weights are on the moon." in markdown_table({"m": result})


@pytest.mark.parametrize("batch_size", [2, 4])
def test_a_slow_metric_is_measured_on_the_first_samples(batch_size):
    class Slow(PSNR):
        name, label, subjects, calls = "slow", "Slow", 3, 0

        def measure(self, comparison):
            self.calls += 1
            return super().measure(comparison)

    slow = Slow()
    result = evaluate(Exact(), DimSource(8), 8, [PSNR(), slow], batch_size=batch_size)
    assert len(result.values("novel", "psnr")) == 8
    assert result.values("novel", "slow") == result.values("novel", "psnr")[:3]
    assert result.labels["slow"] == "Slow, first 3"
    assert slow.calls == 2 * math.ceil(3 / batch_size)  # two views


def test_means_leave_empty_masks_out():
    rows = [
        dict(index=i, subject=i, view="input", psnr=value)
        for i, value in enumerate((20.0, math.nan, 30.0))
    ]
    assert Evaluation(rows, {"psnr": "PSNR (dB)"}, {}).means == {"input/psnr": 25.0}


def test_json_keeps_infinity_readable(tmp_path):
    rows = [dict(index=0, subject=0, view=view, psnr=math.inf) for view in VIEWS]
    path = write_json(tmp_path / "m.json", {"a": Evaluation(rows, {"psnr": "PSNR"}, {})}, seed=1)
    assert json.loads(path.read_text())["methods"]["a"]["means"]["input/psnr"] == "inf"


def test_pictures_have_one_row_a_subject():
    sample = stack([toy_sample(seed, 16) for seed in range(3)])
    grid = side_by_side(sample, Exact().predict(sample))
    assert grid.shape == (3, 3 * 16, len(COLUMNS) * 16)
    torch.testing.assert_close(grid[:, 16:32, :16], sample.reference.portrait.rgb[1])


def test_a_test_run_writes_table_json_and_pictures(tmp_path):
    config = Config(toy_config(data=dict(test=dict(type="ToyPeople", num_subjects=3))))
    report = run_test(config, None, out=tmp_path / "out", baselines=[config], pictures=2)
    assert list(report.evaluations) == ["model", "model-2"]
    assert (tmp_path / "out" / "metrics.md").read_text() == report.table + "\n"
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["methods"]["model"]["means"] == report.evaluations["model"].means
    assert len(written["methods"]["model"]["rows"]) == 6
    pictures = sorted((tmp_path / "out" / "model").glob("*.png"))
    assert [p.name for p in pictures] == ["000000.png", "000001.png"]
    assert Image.open(pictures[0]).size == (5 * 16, 16)
    assert all(path.is_file() for path in report.files)
