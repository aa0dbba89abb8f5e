"""Package metadata, and the files beside the modules that an installed package needs."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = "mmseg_lipcert"


class BuildWithConfigs(build_py):
    """Put configs and shipped checkpoints where MMEngine looks for them: ``<package>/.mim``.

    An editable install links them, so that edits count; every other build copies them.
    """

    def run(self) -> None:
        """Build the package, then add the folder ``.mim``."""
        super().run()
        parent = ROOT if self.editable_mode else Path(self.build_lib)
        folder = parent / PACKAGE / ".mim"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for source in (ROOT / "configs", ROOT / "demo", ROOT / "model-index.yml"):
            if self.editable_mode:
                (folder / source.name).symlink_to(Path("../..") / source.name)
            elif source.is_dir():
                shutil.copytree(source, folder / source.name)
            else:
                shutil.copy(source, folder)


def read_version() -> str:
    """Read ``__version__`` without importing the package, which needs its requirements."""
    namespace: dict[str, str] = {}
    exec((ROOT / PACKAGE / "version.py").read_text(encoding="utf-8"), namespace)
    return namespace["__version__"]


setup(
    name=PACKAGE,
    version=read_version(),
    description="Robustness certificates for semantic segmentation, for MMSegmentation 1.x",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Typing :: Typed",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=[f"{PACKAGE}*"]),
    package_data={PACKAGE: ["py.typed", "**/*.json", "**/*.jinja", "**/*.css", "**/*.js"]},
    entry_points={"console_scripts": [f"lipcert = {PACKAGE}.__main__:main"]},
    cmdclass={"build_py": BuildWithConfigs},
    # Neither toolbox is required here: installed over one another they break. See the extras.
    install_requires=[
        "jinja2>=3.1",
        "matplotlib>=3.8.4",
        "numpy>=2.0.1",
        "orthogonium>=0.0.4",
        "pillow>=10.0",
        "prettytable>=3.9",
        "scipy>=1.13",
        "torch>=2.4",
    ],
    extras_require={
        "onedl": [
            "onedl-mmengine>=0.10.8",
            "onedl-mmcv>=2.3.1",
            "onedl-mmsegmentation>=1.4",
            # Before, torch.export takes apart what residual blocks are known by.
            "torch>=2.6",
        ],
        "openmmlab": [
            "mmengine==0.10.7",
            "mmcv==2.1.0",
            "mmsegmentation==1.2.2",
            # Imported by mmsegmentation 1.2.2, which does not require them.
            "ftfy",
            "regex",
            # mmengine 0.10.7 imports pkg_resources, which later setuptools no longer have, and
            # cannot load its own training checkpoints with later PyTorch.
            "setuptools<82",
            "torch<2.6",
        ],
        # Families of MMSegmentation that need MMPretrain (beside the extra "onedl").
        "zoo": ["onedl-mmpretrain>=1.3.6", "torchvision"],
        "onnx": ["onnx>=1.17", "onnxruntime>=1.19"],
        "denoise": ["diffusers>=0.32", "safetensors>=0.4.3", "scikit-image>=0.24"],
        "docs": [
            "latex2mathml",
            "mkdocs-jupyter>=0.26",
            "mkdocs-material>=9.7",
            "mkdocstrings[python]>=1.0",
        ],
        "dev": [
            "deel-torchlip>=1.0.1",
            "hypothesis>=6.100",
            "jsonschema>=4.20",
            "mypy>=1.10",
            "pre-commit>=3.7",
            "pytest>=8.1",
            "pytest-xdist>=3.5",
            "ruff>=0.5",
        ],
    },
    zip_safe=False,
)
