from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..engine import CertificateStore


class AttackStore(CertificateStore):
    """The folder of one attack: settings, a line and the attacked label maps of each image."""

    def map_path(self, image: str) -> Path:
        """File of the attacked label maps of one image."""
        return self.folder / "attacked" / f"{image}.npz"

    def save_counterexample(self, image: str, number: int, case: dict[str, Any]) -> str:
        """Save what refutes a certificate.

        Args:
            image: Name of the image.
            number: Number of its counterexample.
            case: Arrays and values, among them ``delta``.

        Returns:
            The name of the file in the folder.
        """
        path = self.folder / "counterexamples" / f"{image}_{number}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **case)
        return path.relative_to(self.folder).as_posix()
