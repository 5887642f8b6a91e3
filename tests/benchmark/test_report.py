"""The report's figures are the runs', and the page needs nothing beside it."""

from __future__ import annotations

import base64
import csv
import io
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from presence.benchmark.plots import Series, plot
from presence.benchmark.report import write_report
from presence.benchmark.results import Method, Run
from presence.benchmark.rows import Job

LABELS = dict(
    psnr="PSNR (dB)", ssim="SSIM", lpips="LPIPS (squeeze)", landmarks_face_failed="face failed"
)


def _run(name, seed, novel, moves=0.02):
    job = Job(name, seed, dict(schedule=dict(batch_size=4)), dict(samples=4000), 2, True, None,
              dict(background=1.0))  # fmt: skip
    means = {"input/psnr": novel + 5, "novel/psnr": novel, "novel/ssim": 0.5, "novel/lpips": 0.2}
    means["novel/landmarks_face_failed"] = 0.25
    mean = dict(rms=moves, psnr=30.0, lpips=0.01, offset=1.5, color=0.03)
    curve = [{"samples": 2000, "novel/psnr": novel - 1}, {"samples": 4000, "novel/psnr": novel}]
    measured = dict(means=means, labels=LABELS, missing={}, subjects=7)
    result = dict(
        parameters=2_500_000, device="cpu", provenance=dict(commit="abc"), predict_seconds=0.01,
        training=dict(samples=4000, seconds=60.0, curve=curve), sets=dict(half=measured),
        lower_is_better=["lpips"], wall_seconds=90.0,
        sensitivity=dict(kinds=dict(shift=mean), mean=mean, between=0.25),
    )  # fmt: skip
    return Run(job, result)


@pytest.fixture
def written(tmp_path):
    methods = [
        Method("Dual-UV", "Ours", [_run("Dual-UV", 0, 20.0), _run("Dual-UV", 1, 21.0)]),
        Method("GUAVA <x>", "GUAVA", [_run("GUAVA <x>", 0, 19.0)]),
        Method("broken", None, [Run(_run("broken", 0, 0.0).job, None, "no memory")]),
    ]
    folder = tmp_path / "rows" / methods[0].runs[0].job.folder
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 4), (10, 200, 30)).save(folder / "half.jpg")
    table, files = write_report(
        tmp_path, methods, title="A & B", source="c/x.py", failures={"broken seed 0": "no memory"}
    )
    return table, {file.suffix: file.read_text() for file in files}


def test_the_table_has_means_over_seeds_and_marks_the_best(written):
    table, _ = written
    lines = {line.split(" | ")[0].strip("| "): line for line in table.splitlines()}
    assert "**20.50**" in lines["Dual-UV"]
    assert "| 19.00 |" in lines["GUAVA <x>"]
    assert "| 2.00 | 25.00 | 8% |" in lines["GUAVA <x>"]  # 0.02 of 0.25
    assert set(lines["broken"].split(" | ")[1:]) <= {"-", "- |"}


def test_markdown_has_the_papers_figures_and_what_failed(written):
    text = written[1][".md"]
    row = next(line for line in text.splitlines() if line.startswith("| GUAVA") and "20.59" in line)
    assert [c.strip(" *") for c in row.split("|")][-7:-1] == [
        "20.59", "0.7864", "0.1957", "20.24", "0.7215", "0.1940",
    ]  # fmt: skip
    assert "**20.50 ± 0.50**" in text
    assert "novel view: face failed (%)" in text and "| 0.2000 | 25 | 20.59 |" in row.replace(
        "*", ""
    )
    assert "- broken seed 0: no memory" in text
    assert "3 runs took 4.5 minutes" in text
    assert "4,000 samples; batches of 4" in text and "Dual-UV 0, 1" in text


def test_the_csv_has_every_run(written):
    rows = list(csv.DictReader(io.StringIO(written[1][".csv"])))
    novel = {(r["method"], r["seed"]): float(r["psnr"]) for r in rows if r["view"] == "novel"}
    assert novel == {("Dual-UV", "0"): 20.0, ("Dual-UV", "1"): 21.0, ("GUAVA <x>", "0"): 19.0}
    assert {float(r["between_rms"]) for r in rows} == {0.25}


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.sources, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_self_contained(written):
    page = written[1][".html"]
    links = _Links()
    links.feed(page)
    assert links.open == []
    (picture,) = links.sources
    data = base64.b64decode(picture.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(data)).size == (8, 4)
    assert "http" not in page and "A &amp; B" in page and "GUAVA &lt;x&gt;" in page
    assert page.count("<svg") == 5


def test_a_plot_puts_points_where_they_are():
    svg = plot(
        [Series("a", [(1, 10), (100, 30)]), Series("b", [(10, 20)], 1), Series("none", [(0, 5)])],
        title="t", x_label="x", y_label="y", log_x=True,
    )  # fmt: skip
    root = ElementTree.fromstring(svg)
    points = [(float(c.get("cx")), float(c.get("cy"))) for c in root.findall("circle")]
    assert len(points) == 3  # 0 is not on a logarithmic axis
    (x1, y1), (x2, y2), (x3, y3) = points
    assert x3 == pytest.approx((x1 + x2) / 2, abs=0.2)  # 10 is halfway from 1 to 100
    assert y3 == pytest.approx((y1 + y2) / 2, abs=0.2) and y2 < y1
    ticks = {t.text for t in root.findall("text") if t.get("class") == "tick"}
    assert {"1", "10", "100"} <= ticks


def test_names_in_a_plot_cover_neither_each_other_nor_points():
    series = [Series(f"method {i}", [(1.0, 5.0 + 0.01 * i)], i) for i in range(4)]
    root = ElementTree.fromstring(plot(series, title="", x_label="", y_label=""))
    names = [t for t in root.findall("text") if t.get("class") == "name"]
    boxes = []
    for name in names:
        x, y, width = float(name.get("x")), float(name.get("y")), 6.0 * len(name.text)
        left = x - width if name.get("text-anchor") == "end" else x
        boxes.append((left, y - 8, left + width, y))
    for point in root.findall("circle"):
        x, y = float(point.get("cx")), float(point.get("cy"))
        assert not any(a < x < c and b < y < d for a, b, c, d in boxes)
    for i, (a, b, c, d) in enumerate(boxes):
        for e, f, g, h in boxes[:i]:
            assert c <= e or g <= a or d <= f or h <= b


def _crowd():
    """Nine methods as an ablation has them: most within a tenth of the range."""
    ups = [14.27, 14.42, 14.48, 14.28, 14.32, 14.24, 14.14, 14.29, 12.48]
    return [Series(f"a method, {i}", [(19.0 + 0.1 * i, up)], i) for i, up in enumerate(ups)]


def test_every_name_has_its_colour_in_the_legend():
    series = _crowd()
    root = ElementTree.fromstring(plot(series, title="", x_label="", y_label="", log_x=True))
    (legend,) = root.findall("g")
    keys = [
        (c.get("fill"), t.text) for c, t in zip(legend.findall("circle"), legend.findall("text"))
    ]
    assert keys == [(f"var(--series-{s.color})", s.name) for s in series]
    assert [c.get("fill") for c in root.findall("circle")] == [fill for fill, _ in keys]
    places = [(float(c.get("cx")), float(c.get("cy"))) for c in legend.findall("circle")]
    height, width = (float(root.get("viewBox").split()[at]) for at in (3, 2))
    assert all(300 < y < height for _, y in places)
    for (x, y), (other, row), one in zip(places, places[1:], series):
        assert row > y or other > x + 6.0 * len(one.name)
    assert all(x + 6.0 * len(one.name) < width for (x, _), one in zip(places, series))
    ticks = [t for t in root.findall("text") if t.get("class") == "tick"]
    assert len([t for t in ticks if t.get("text-anchor") == "middle"]) >= 2  # of 19 to 19.8
    alone = ElementTree.fromstring(plot(series[:1], title="", x_label="", y_label=""))
    assert alone.findall("g") == []


def _away(box, point):
    left, top, right, bottom = box
    x, y = point
    return np.hypot(max(left - x, x - right, 0), max(top - y, y - bottom, 0))


def test_a_name_in_a_crowd_stands_beside_its_own_point_or_nowhere():
    root = ElementTree.fromstring(plot(_crowd(), title="", x_label="", y_label=""))
    points = {
        c.find("title").text.rsplit(":", 1)[0]: (float(c.get("cx")), float(c.get("cy")))
        for c in root.findall("circle")
    }
    names = [t for t in root.findall("text") if t.get("class") == "name"]
    assert 0 < len(names) <= 9
    for name in names:
        x, y, width = float(name.get("x")), float(name.get("y")), 6.0 * len(name.text)
        left = x - {"start": 0, "middle": width / 2, "end": width}[name.get("text-anchor")]

        box = (left, y - 8, left + width, y)
        own = _away(box, points[name.text])
        assert own < 16 and all(own <= _away(box, p) for p in points.values())
        number = name.text.split(", ")[1]
        assert name.get("style") == f"fill:var(--series-{number})"


def test_names_in_a_plot_do_not_lie_on_lines():
    curves = [[10.5, 10.6, 11.0, 11.1], [10.3, 10.4, 11.2, 11.15], [13.5, 14.0, 14.5, 14.7]]
    series = [Series(f"method {i}", list(enumerate(ys)), i) for i, ys in enumerate(curves)]
    root = ElementTree.fromstring(plot(series, title="", x_label="", y_label=""))
    lines = [
        [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        for line in root.findall("polyline")
    ]
    names = [t for t in root.findall("text") if t.get("class") == "name"]
    assert len(lines) == len(names) == 3
    for name in names:
        x, y, width = float(name.get("x")), float(name.get("y")), 6.0 * len(name.text)
        left = x - width if name.get("text-anchor") == "end" else x
        for line in lines:
            xs, ys = zip(*line)
            across = np.linspace(left, left + width, 50)
            across = across[(across > xs[0]) & (across < xs[-1])]
            under = np.interp(across, xs, ys)
            assert not ((under > y - 7) & (under < y)).any()
