"""Registries of the scope ``mmseg_lipcert``, which MMEngine imports by this name.

All components are registered in ``mmseg.registry``. But MMEngine marks what is inherited by
``_base_ = "mmseg_lipcert::..."`` with the scope of the package, and knows the registries of a scope
only: these hold nothing and give what their parents, those of MMSegmentation, hold.
"""

import mmseg.registry
from mmengine.registry import Registry

# Whatever fills the parents: MMEngine imports the places of the registry that it asks alone.
_LOCATIONS = [
    "mmseg.engine",
    "mmseg.evaluation",
    "mmseg.structures",
    "mmseg.visualization",
    "mmseg_lipcert.registration",
]

REGISTRIES = {
    name: Registry(parent.name, parent=parent, scope="mmseg_lipcert", locations=_LOCATIONS)
    for name, parent in vars(mmseg.registry).items()
    if isinstance(parent, Registry)
}
