"""Which MMSegmentation is installed, and what has to be told to MMEngine about it."""

import io
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution

__all__ = ["check_toolbox", "import_quietly", "register_packages"]

# Module name -> the two distributions that provide it. They install the same files.
_DISTRIBUTIONS = {
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmcv": ("onedl-mmcv", "mmcv"),
    "mmseg": ("onedl-mmsegmentation", "mmsegmentation"),
}

_ADVICE = (
    "Install exactly one of the two toolboxes:\n"
    '    pip install "mmseg_lipcert[onedl]"        (maintained, tested default)\n'
    '    pip install "mmseg_lipcert[openmmlab]"    (the original distributions)\n'
    "They provide the same modules: with both in one environment each breaks the other."
)


def check_toolbox() -> None:
    """Check that one, and only one, MMSegmentation toolbox can be imported.

    Raises:
        ImportError: If mmengine, mmcv or mmseg cannot be imported, or if two distributions of one
            of them are installed. The message names the module and the two possible installs.
    """
    for module, candidates in _DISTRIBUTIONS.items():
        installed = _installed(candidates)
        if len(installed) > 1:
            raise ImportError(
                f"the module '{module}' is installed twice, by {' and '.join(installed)}. "
                f"Uninstall both before a new install. {_ADVICE}"
            )
        try:
            import_module(module)
        except ImportError as error:
            raise ImportError(
                f"mmseg_lipcert is a plugin for MMSegmentation 1.x, but the module '{module}' "
                f"cannot be imported ({error}). {_ADVICE}"
            ) from error


def register_packages() -> None:
    """Tell MMEngine where ``mmseg::`` and ``mmseg_lipcert::`` configs come from.

    MMEngine maps a module to the distribution that ships its configs and knows only the original
    name of mmseg's. A source checkout of mmseg that no distribution owns keeps that mapping.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    for distribution_name in _installed(_DISTRIBUTIONS["mmseg"]):
        MODULE2PACKAGE["mmseg"] = distribution_name
    MODULE2PACKAGE["mmseg_lipcert"] = "mmseg_lipcert"


def import_quietly() -> None:
    """Import MMSegmentation's parts without its remarks on optional packages nobody asked for."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()) as printed:
        warnings.filterwarnings("ignore", "Fail to import ``MultiScaleDeformableAttention``")
        for module in ("mmseg.datasets", "mmseg.models"):
            import_module(module)
    for line in printed.getvalue().splitlines():
        if "Could not import OneDL" not in line:
            print(line)


def _installed(candidates: tuple[str, ...]) -> list[str]:
    """Return the names among ``candidates`` that are installed distributions."""
    found = []
    for name in candidates:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found
