"""The table of external files, and what doctor and list_components print."""

from __future__ import annotations

import hashlib

import pytest

from presence.assets import find_asset, load_assets
from presence.components import list_components
from presence.doctor import report
from presence.errors import AssetError, ConfigError

TABLE = """
home: '${oc.env:PRESENCE_HOME,"~/.presence"}'
assets:
  thing:
    title: The thing
    used_by: testing
    paths: ["${home}/a/thing*.bin", "${home}/b.bin"]
    licence: WTFPL
    commercial: true
    sha256: SHA
    get: "ask nicely"
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table with one file, whose content is `hello`."""
    path = tmp_path / "assets.yaml"
    path.write_text(TABLE.replace("SHA", hashlib.sha256(b"hello").hexdigest()[:8]))
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PRESENCE_ASSETS", str(path))
    return tmp_path / "home"


def test_a_missing_file_says_where_and_how(table):
    with pytest.raises(AssetError) as error:
        find_asset("thing").require()
    assert str(error.value) == (
        f"The thing is missing (needed for: testing). Looked for: {table}/a/thing*.bin, "
        f"{table}/b.bin. Licence: WTFPL. Get it: ask nicely."
    )


def test_places_are_tried_in_order_and_checksums_compared(table):
    (table / "a").mkdir(parents=True)
    (table / "b.bin").write_bytes(b"other")
    assert find_asset("thing").require() == table / "b.bin"
    assert find_asset("thing").checksum_fits(table / "b.bin") is False
    (table / "a" / "thing2.bin").write_bytes(b"hello")
    assert find_asset("thing").require() == table / "a" / "thing2.bin"
    assert find_asset("thing").checksum_fits(table / "a" / "thing2.bin") is True


def test_doctor_prints_the_table(table):
    text = report()
    assert "thing: The thing - missing" in text and "ask nicely" in text
    table.mkdir()
    (table / "b.bin").write_bytes(b"other")
    text = report()
    assert f"found at {table}/b.bin, CHECKSUM DIFFERS" in text
    assert "CHECKSUM" not in report(checksums=False)
    for part in ("Environment", "Packages", "Bundled data", "Components", "DualUVDecoder"):
        assert part in text


def test_wrong_names_and_tables_are_one_line(table, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="unknown asset `thin`. Did you mean `thing`?"):
        find_asset("thin")
    broken = tmp_path / "broken.yaml"
    broken.write_text("assets:\n  thing:\n    title: x\n")
    with pytest.raises(ConfigError, match="broken.yaml cannot be read: KeyError"):
        load_assets(broken)
    monkeypatch.setenv("PRESENCE_ASSETS", str(tmp_path / "gone.yaml"))
    with pytest.raises(ConfigError, match="gone.yaml does not exist"):
        load_assets()


def test_the_shipped_table_is_complete(monkeypatch):
    monkeypatch.delenv("PRESENCE_ASSETS", raising=False)
    assets = load_assets()
    assert {"smplx", "flame", "mano", "sapiens_1b", "osx", "multi_hmr", "emica", "hamer"} <= set(
        assets
    )
    for asset in assets.values():
        assert asset.title and asset.used_by and asset.licence and asset.get and asset.paths
        assert asset.commercial in (True, False, None)


def test_the_paths_of_lpips_trunks_are_those_of_the_metric():
    from presence.evaluation.lpips_net import TRUNKS

    assets = load_assets()
    for net, file in TRUNKS.items():
        assert assets[f"lpips_{net}"].paths[0].endswith(f"hub/checkpoints/{file}")


def test_every_component_is_listed():
    from presence.registry import ALL

    text = list_components()
    for registry in ALL.values():
        for name in registry.names():
            assert f"  {name}  [" in text
    only = list_components("metric")
    assert "PSNR" in only and "DualUVDecoder" not in only
    assert "options: net='squeeze'" in only
    with pytest.raises(ConfigError, match="Did you mean `decoder`"):
        list_components("decodr")
