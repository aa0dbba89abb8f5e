"""The converted checkpoint computes the same logits with an unconstrained last layer."""

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS


def test_logits_stay_the_same(project, tmp_path, run_tool, capsys):
    output = tmp_path / "free.pth"
    run_tool("model_converters/free_classifier.py", project.config, project.checkpoint, output)
    printed = capsys.readouterr().out
    assert "free classifier of 19 classes" in printed
    assert (
        f"lipcert train CONFIG_WITH_free_classifier=True --cfg-options load_from={output}"
        in printed
    )
    config = Config.fromfile(project.config).model
    config.decode_head.free_classifier = True
    with DefaultScope.overwrite_default_scope("mmseg"):
        free = MODELS.build(config)
    free.load_state_dict(torch.load(output)["state_dict"], strict=True)
    x = torch.rand(1, 3, 32, 64) - 0.5
    expected = project.model.eval().network(x)
    assert type(free.decode_head.conv_seg) is torch.nn.Conv2d
    torch.testing.assert_close(free.eval().network(x), expected, atol=1e-6, rtol=1e-5)
