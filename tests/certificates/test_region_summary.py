import json
import math

import pytest
import torch

from mmseg_lipcert.certificates import (
    RegionQuery,
    dataset_summary,
    fabrication_radii,
    image_entry,
    vanishing_regions,
)
from mmseg_lipcert.certificates.objects import alarm_zone

QUERY = RegionQuery(
    vanish_share=0.5, min_pixels=2, object_classes=(2, 0), fabricate_pixels=3, fabricate_distance=0
)


def image(seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (8, 9), generator=generator)
    target[0] = 255
    logits = torch.nn.functional.one_hot(target % 3, 4).permute(2, 0, 1).float()
    return logits + 0.6 * torch.randn(4, 8, 9, generator=generator), target


def entry(seed, **options):
    return image_entry(*image(seed), [0.1], 2.0, regions=QUERY, **options)


def test_entry_holds_the_regions_and_inventions_of_the_image():
    logits, target = image(0)
    found = json.loads(json.dumps(entry(0)))
    regions, _ = vanishing_regions(logits, target, 2.0, share=0.5, min_pixels=2)
    assert len(regions) > 3
    assert found["regions"] == [
        {
            "class": region.class_index,
            "pixels": region.pixels,
            "box": list(region.box),
            "detected": region.detected,
            "radius": region.radius,
        }
        for region in regions
    ]
    for row, c in zip(found["fabrication"], (2, 0), strict=True):
        far = torch.from_numpy(alarm_zone(target.numpy(), c, 0))
        alone = fabrication_radii(logits, target, c, [1, 3], 2.0, where=far).tolist()
        assert (row["class"], row["pixels"]) == (c, 3)
        # Pixels that are there already may be what an object lacks.
        assert alone[0] <= row["radius"] <= alone[1]


def test_infinite_radius_survives_a_line_of_json():
    logits, target = torch.zeros(2, 1, 4), torch.zeros(1, 4, dtype=torch.long)
    logits[0] = 1.0
    query = RegionQuery(min_pixels=1, object_classes=(1,), fabricate_pixels=5)
    found = json.loads(json.dumps(image_entry(logits, target, 0.1, 1.0, regions=query)))
    assert found["fabrication"] == [
        {"class": 1, "pixels": 5, "alarms": 0, "invented": [0], "radius": math.inf}
    ]
    (row,) = dataset_summary([found])["fabrication"]
    assert row["median_radius"] == row["smallest_radius"] == math.inf
    assert row["certified"] == [row["clean"]] == [{"false_alarms": 0.0, "alarm_free": 1.0}]


def test_summary_pools_the_objects_of_all_images():
    entries = [entry(seed) for seed in range(3)]
    summary = dataset_summary(entries)
    assert [row["class"] for row in summary["regions"]] == [0, 1, 2, 3]
    for row in summary["regions"][:3]:
        radii = torch.tensor(
            [r["radius"] for e in entries for r in e["regions"] if r["class"] == row["class"]]
        ).double()
        assert row["count"] == len(radii) > 0
        assert row["erased_free"] == (radii == 0).sum()
        assert row["smallest_radius"] == pytest.approx(radii.min().item())
        assert row["median_radius"] == pytest.approx(radii.quantile(0.5).item())
    absent = summary["regions"][3]
    assert (absent["count"], absent["erased_free"]) == (0, 0)
    assert math.isnan(absent["median_radius"]) and math.isnan(absent["smallest_radius"])
    invented = [e["fabrication"][0]["radius"] for e in entries]
    assert summary["fabrication"][0]["smallest_radius"] == min(invented)
    assert summary["fabrication"][0]["median_radius"] == sorted(invented)[1]
    assert [row["class"] for row in summary["fabrication"]] == [2, 0]


def test_summary_has_none_unless_every_image_has():
    logits, target = image(1)
    counts = torch.nn.functional.one_hot(target % 255, 4).permute(2, 0, 1)
    coarse = image_entry(logits, counts, [0.1], 2.0, regions=QUERY)
    weighted = image_entry(logits, target, [0.1], 2.0, regions=QUERY, weights=target % 2)
    for other in (coarse, weighted, image_entry(logits, target, [0.1], 2.0)):
        assert other["regions"] is None and other["fabrication"] is None
        summary = dataset_summary([entry(0), other])
        assert summary["regions"] is None and summary["fabrication"] is None


def test_unknown_class_of_fabrication_is_named():
    query = RegionQuery(object_classes=(7,))
    with pytest.raises(ValueError, match="class_index must be in .*got 7"):
        image_entry(*image(0), [0.1], 2.0, regions=query)
