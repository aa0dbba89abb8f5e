from importlib.metadata import PackageNotFoundError, version

import pytest
from mmengine.config import Config
from mmengine.config.utils import MODULE2PACKAGE

from mmseg_lipcert.utils import check_toolbox, register_packages, toolbox


def test_the_installed_toolbox_passes():
    check_toolbox()


def test_two_toolboxes_at_once_are_refused(monkeypatch):
    monkeypatch.setattr(toolbox, "distribution", lambda name: name)
    with pytest.raises(
        ImportError, match="installed twice, by onedl-mmengine and mmengine"
    ) as error:
        check_toolbox()
    assert 'pip install "mmseg_lipcert[onedl]"' in str(error.value)


@pytest.mark.parametrize("name", ["onedl-mmsegmentation", "mmsegmentation"])
def test_mmseg_maps_to_the_installed_distribution(monkeypatch, name):
    def distribution(candidate):
        if candidate != name:
            raise PackageNotFoundError(candidate)

    monkeypatch.setitem(MODULE2PACKAGE, "mmseg", "neither")
    monkeypatch.setitem(MODULE2PACKAGE, "mmseg_lipcert", "neither")
    monkeypatch.setattr(toolbox, "distribution", distribution)
    register_packages()
    assert MODULE2PACKAGE["mmseg"] == name
    assert MODULE2PACKAGE["mmseg_lipcert"] == "mmseg_lipcert"


def test_a_toolbox_from_sources_keeps_the_mapping_of_mmengine(monkeypatch):
    def distribution(name):
        raise PackageNotFoundError(name)

    monkeypatch.setitem(MODULE2PACKAGE, "mmseg", "from sources")
    monkeypatch.setattr(toolbox, "distribution", distribution)
    register_packages()
    assert MODULE2PACKAGE["mmseg"] == "from sources"


def test_configs_inherit_from_mmseg(tmp_path):
    assert version(MODULE2PACKAGE["mmseg"])
    path = tmp_path / "child.py"
    path.write_text("_base_ = ['mmseg::_base_/models/fcn_unet_s5-d16.py']\n")
    assert Config.fromfile(path).model.backbone.type == "UNet"
