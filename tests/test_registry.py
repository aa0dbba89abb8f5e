"""What is inherited by ``mmseg_lipcert::`` carries this scope and must be found under it."""

import mmengine.registry
import mmseg.registry
from mmengine.config import Config

from mmseg_lipcert.registry import REGISTRIES


def test_every_registry_of_mmseg_has_one_that_leads_to_it():
    assert {"MODELS", "DATASETS", "HOOKS", "VISUALIZERS", "METRICS"} < set(REGISTRIES)
    for name, registry in REGISTRIES.items():
        root = getattr(mmengine.registry, name)
        assert root._search_child("mmseg_lipcert") is registry
        assert registry.parent is getattr(mmseg.registry, name)


def test_inherited_parts_are_built_by_whoever_is_asked(tmp_path, monkeypatch):
    base = tmp_path / "base.py"
    base.write_text(
        "model = dict(type='SLLBlock', channels=8)\n"
        "visualizer = dict(type='SegLocalVisualizer', name='inherited')\n"
        "hook = dict(type='SegVisualizationHook')\n"
    )
    (tmp_path / "child.py").write_text("_base_ = 'mmseg_lipcert::base.py'\n")
    # Where an installed package has its configs.
    monkeypatch.setattr(Config, "_get_cfg_path", lambda *_: (str(base), "mmseg_lipcert"))
    config = Config.fromfile(tmp_path / "child.py")
    assert config.visualizer._scope_ == config.model._scope_ == "mmseg_lipcert"
    for name, part in dict(VISUALIZERS="visualizer", MODELS="model", HOOKS="hook").items():
        for registries in (mmengine.registry, mmseg.registry):
            built = getattr(registries, name).build(config[part])
            assert type(built).__name__ == config[part].type
