"""The package as a user meets it: importing it, with and without a toolbox."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mmseg_lipcert

PACKAGE = Path(mmseg_lipcert.__file__).parent

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
import mmseg_lipcert
"""


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)


def test_import_registers_and_warns_of_nothing_of_ours():
    names = ["TemperatureCrossEntropyLoss", "LipEncoderDecoder", "CamVidDataset"]
    code = f"""
import mmseg_lipcert
from mmseg.registry import DATASETS, MODELS
print([name for name in {names} if name not in MODELS and name not in DATASETS])
"""
    result = run_python(code, "-W", "always")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    assert str(PACKAGE) not in result.stderr


@pytest.mark.parametrize("module", ["mmengine", "mmcv", "mmseg"])
def test_a_missing_toolbox_is_explained(module):
    result = run_python(BLOCK.format(module=module))
    assert result.returncode == 1
    message = result.stderr[result.stderr.rindex("ImportError") :]
    assert f"the module '{module}' cannot be imported" in message
    assert 'pip install "mmseg_lipcert[onedl]"' in message
    assert 'pip install "mmseg_lipcert[openmmlab]"' in message
    assert "each breaks the other" in message


def test_the_model_index_lists_every_metafile():
    root = PACKAGE.parent
    listed = yaml.safe_load((root / "model-index.yml").read_text())["Import"]
    existing = [path.relative_to(root).as_posix() for path in root.glob("configs/*/metafile.yml")]
    assert sorted(listed) == sorted(existing)


def test_a_built_package_carries_its_configs(tmp_path):
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, check=True, cwd=PACKAGE.parent)
    built = tmp_path / "mmseg_lipcert"
    for kind in ("*.py", "*.json", "*.jinja"):
        sources = {path.relative_to(PACKAGE) for path in PACKAGE.rglob(kind)}
        sources = {path for path in sources if path.parts[0] != ".mim"}
        assert sources <= {path.relative_to(built) for path in built.rglob(kind)}
    configs = PACKAGE.parent / "configs"
    expected = {path.relative_to(configs) for path in configs.rglob("*.py")}
    shipped = built / ".mim" / "configs"
    assert {path.relative_to(shipped) for path in shipped.rglob("*.py")} == expected
    assert (built / ".mim" / "model-index.yml").is_file()
