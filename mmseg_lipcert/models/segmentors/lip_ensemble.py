from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from .lip_encoder_decoder import LipEncoderDecoder


@MODELS.register_module()
class LipEnsemble(LipEncoderDecoder):
    """Mean of the native logits of several 1-Lipschitz networks, which is 1-Lipschitz itself.

    Certified like one network by one forward pass of each member; the bound is at most the root
    mean square of the members' bounds. Members are trained alone and joined by
    ``lipcert join-ensemble``.

    Args:
        members: The ``model`` of each member's config. Their ``data_preprocessor`` must be that of
            the ensemble, if they have one; their ``train_cfg`` and ``test_cfg`` are not used.
        data_preprocessor: As in ``EncoderDecoder``.
        test_cfg: As in :class:`LipEncoderDecoder`: shifts and mirror image of every member.
        init_cfg: MMEngine's initialization config.

    Raises:
        ValueError: If there are less than two members, a member is no ``LipEncoderDecoder``, has a
            free classifier, another preprocessing or another number of classes.
    """

    def __init__(
        self,
        members: Sequence[Mapping[str, Any]],
        data_preprocessor: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        if len(members) < 2:
            raise ValueError(f"an ensemble has at least two members, got {len(members)}")
        parts = [
            self._parts(member, data_preprocessor, f"members[{index}]")
            for index, member in enumerate(members)
        ]
        super().__init__(
            **parts[0], data_preprocessor=data_preprocessor, test_cfg=test_cfg, init_cfg=init_cfg
        )
        self.others = nn.ModuleList(
            MODELS.build(dict(type="LipEncoderDecoder", **part)) for part in parts[1:]
        )
        for index, member in enumerate([self, *self.others]):
            if member.has_free_classifier:
                raise ValueError(
                    f"members[{index}] has a free classifier: its logits have no bound"
                )
            if member.out_channels != self.out_channels:
                raise ValueError(
                    f"members[{index}] has {member.out_channels} logits, the first member has "
                    f"{self.out_channels}"
                )

    @staticmethod
    def _parts(member: Mapping[str, Any], preprocessor: Any, name: str) -> dict[str, Any]:
        if member.get("type", "LipEncoderDecoder") != "LipEncoderDecoder":
            raise ValueError(f"{name} must be a LipEncoderDecoder, got {member['type']!r}")
        own = dict(member.get("data_preprocessor") or {})
        # `size` only pads the crops of a training batch.
        same = {**own, "size": None} == {**dict(preprocessor or {}), "size": None}
        if own and not same:
            raise ValueError(
                f"the data_preprocessor of {name} must be that of the ensemble, {preprocessor}, "
                f"got {own}"
            )
        return {key: member[key] for key in ("backbone", "neck", "decode_head") if key in member}

    def _members(self) -> list[LipEncoderDecoder]:
        return [self, *self.others]

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Not defined.

        Raises:
            RuntimeError: Always: members are trained alone.
        """
        raise RuntimeError("train the members of a LipEnsemble alone, then join them")
