import pickle

import pytest
import torch

from mmseg_lipcert.models.denoisers import FFDNetDenoiser
from mmseg_lipcert.models.denoisers.ffdnet_denoiser import ffdnet
from mmseg_lipcert.utils.cli import CommandLineError


class Intruder:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("prefix", ["model.", "module.model."])
@pytest.mark.parametrize("nested", [False, True])
def test_the_weights_are_those_of_the_authors(tool_module, tmp_path, prefix, nested):
    network = ffdnet(3, 8)
    weights = {prefix + key: value for key, value in network.state_dict().items()}
    torch.save(dict(params=weights) if nested else weights, tmp_path / "ffdnet.pth")
    tool = tool_module("model_converters/ffdnet_to_safetensors.py")
    tool.main([str(tmp_path / "ffdnet.pth"), str(tmp_path / "ffdnet.safetensors")])
    denoiser = FFDNetDenoiser(tmp_path / "ffdnet.safetensors")
    for key, value in network.state_dict().items():
        assert torch.equal(denoiser.model.state_dict()[key], value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffdnet.pth", "ffdnet.safetensors"]


def test_code_in_a_checkpoint_is_not_run(run_tool, tmp_path):
    mark = tmp_path / "mark"
    torch.save({"model.0.weight": Intruder(mark)}, tmp_path / "bad.pth")
    arguments = [tmp_path / "bad.pth", tmp_path / "x.safetensors"]
    with pytest.raises(CommandLineError, match="no code of a checkpoint is ever run"):
        run_tool("model_converters/ffdnet_to_safetensors.py", *arguments)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Intruder(mark))).close()
    assert mark.exists()  # it would have been written


def test_other_networks_are_refused_and_nothing_is_written(run_tool, tmp_path):
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pth")
    arguments = [tmp_path / "other.pth", tmp_path / "x.safetensors"]
    with pytest.raises(CommandLineError, match="no FFDNet for RGB images"):
        run_tool("model_converters/ffdnet_to_safetensors.py", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["other.pth"]
    with pytest.raises(CommandLineError, match=r"the output is a \.safetensors file"):
        run_tool("model_converters/ffdnet_to_safetensors.py", arguments[0], tmp_path / "x.pth")
