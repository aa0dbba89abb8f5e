"""The package as a user meets it: importing it, with and without a toolbox."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import mmseg_lipcert

PACKAGE = Path(mmseg_lipcert.__file__).parent

TOOLBOX = {
    *("mmseg", "mmengine", "mmcv", "orthogonium", "diffusers", "transformers"),
    *("matplotlib", "PIL", "cv2", "jinja2", "onnxruntime"),
}

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
import {imported}
"""


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent)


REGISTERED = """
from mmseg.registry import DATASETS, METRICS, MODELS
names = {
    "LipEncoderDecoder": MODELS, "DiffusersDenoiser": MODELS, "TemperatureCrossEntropyLoss": MODELS,
    "CamVidDataset": DATASETS, "LipschitzCertificateMetric": METRICS,
}
print([name for name, registry in names.items() if name not in registry])
"""

CONFIG = """
from mmengine.config import Config
Config.fromfile({path!r})
"""


def docstrings() -> Iterator[tuple[str, str]]:
    """Pairs (place, text) of the docstrings of all modules, classes and functions."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, documented) and (text := ast.get_docstring(node)):
                place = f"{file.relative_to(PACKAGE)}:{getattr(node, 'lineno', 1)}"
                yield place, text


def test_docstrings_leave_the_types_to_the_signatures():
    section = re.compile(r"^(?:Args|Attributes):\n((?: {4}.*\n?)+)", re.MULTILINE)
    typed = re.compile(r"^ {4}[\w*, ]+ \(.+?\):", re.MULTILINE)
    found = list(docstrings())
    assert sum(bool(section.search(text)) for _, text in found) > 100
    places = [
        place for place, text in found for part in section.findall(text) if typed.search(part)
    ]
    assert places == []


def test_registration_registers_and_warns_of_nothing_of_ours():
    result = run_python(f"import mmseg_lipcert.registration\n{REGISTERED}", "-W", "always")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "[]"
    assert str(PACKAGE) not in result.stderr


def test_configs_register_also_after_the_mathematics(tmp_path):
    path = tmp_path / "config.py"
    path.write_text('custom_imports = dict(imports=["mmseg_lipcert.registration"])')
    code = CONFIG.format(path=str(path)) + REGISTERED
    result = run_python(f"import mmseg_lipcert.certificates\n{code}")
    assert result.stdout.splitlines()[-1:] == ["[]"], result.stderr


def test_configs_that_import_the_package_alone_register(tmp_path):
    path = tmp_path / "config.py"
    path.write_text('custom_imports = dict(imports=["mmseg_lipcert"])')
    result = run_python(CONFIG.format(path=str(path)) + REGISTERED)
    assert result.stdout.splitlines()[-1:] == ["[]"], result.stderr


@pytest.mark.parametrize(
    "module, imported",
    [("mmengine", "apis"), ("mmcv", "registration"), ("mmseg", "registration")],
)
def test_a_missing_toolbox_is_explained(module, imported):
    result = run_python(BLOCK.format(module=module, imported=f"mmseg_lipcert.{imported}"))
    assert result.returncode == 1
    message = result.stderr[result.stderr.rindex("ImportError") :]
    assert f"the module '{module}' cannot be imported" in message
    assert 'pip install "mmseg_lipcert[onedl]"' in message
    assert 'pip install "mmseg_lipcert[openmmlab]"' in message
    assert "each breaks the other" in message


def test_the_mathematics_load_no_toolbox():
    code = """
import sys
import mmseg_lipcert.certificates.smoothing, mmseg_lipcert.lipschitz
print(*{name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert {"torch", "numpy", "scipy"} <= loaded
    assert not loaded & TOOLBOX


def test_one_python_version_is_asked_for():
    root = PACKAGE.parent
    (version,) = re.findall(r'python_requires=">=([\d.]+)"', (root / "setup.py").read_text())
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]
    assert settings["mypy"]["python_version"] == version
    assert settings["ruff"]["target-version"] == "py" + version.replace(".", "")
    assert f"sys.version_info >= ({version.replace('.', ', ')})" in (root / "Makefile").read_text()
    for path in ("Makefile", "README.md"):
        assert f"Python {version} or newer" in (root / path).read_text()
    for path in ("docs/installation.md", "requirements/tested.txt"):
        assert f"Python {version}" in (root / path).read_text()
    assert f'"Programming Language :: Python :: {version}"' in (root / "setup.py").read_text()


def test_the_changelog_names_the_versions_of_package_and_results():
    newest = (PACKAGE.parent / "CHANGELOG.md").read_text().split("\n## ")[1]
    assert newest.startswith(f"{mmseg_lipcert.__version__} ")
    for file, schema in (
        ("certificate.json", "certificate.schema.json"),
        ("attack.json", "attack_report.schema.json"),
    ):
        properties = json.loads((PACKAGE / "report" / schema).read_text())["properties"]
        assert f"{file}: schema {properties['schema']['const']}." in newest


def test_the_model_index_lists_every_metafile():
    root = PACKAGE.parent
    listed = yaml.safe_load((root / "model-index.yml").read_text())["Import"]
    existing = [path.relative_to(root).as_posix() for path in root.glob("configs/*/metafile.yml")]
    assert sorted(listed) == sorted(existing)


def test_a_built_package_carries_its_configs(tmp_path):
    command = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, check=True, cwd=PACKAGE.parent)
    built = tmp_path / "mmseg_lipcert"
    for kind in ("*.py", "*.json", "*.jinja", "*.css", "*.js", "py.typed"):
        sources = {path.relative_to(PACKAGE) for path in PACKAGE.rglob(kind)}
        sources = {path for path in sources if path.parts[0] != ".mim"}
        assert sources <= {path.relative_to(built) for path in built.rglob(kind)}
    configs = PACKAGE.parent / "configs"
    expected = {path.relative_to(configs) for path in configs.rglob("*.py")}
    shipped = built / ".mim" / "configs"
    assert {path.relative_to(shipped) for path in shipped.rglob("*.py")} == expected
    assert (built / ".mim" / "model-index.yml").is_file()
