import math

import pytest
import torch

from mmseg_lipcert.certificates.smoothing import ClassHierarchy, ClassVotes, HitCounter
from mmseg_lipcert.certificates.smoothing.class_hierarchy import CITYSCAPES, CITYSCAPES_OBSTACLES

#: Vertices: classes 0-3, "ab" 4, "cd" 5, root 6.
SMALL = dict(num_classes=4, levels=[{"ab": [0, 1], "cd": [2, 3]}])


def select(votes: list[int], **options) -> int:
    counts = torch.tensor(votes, dtype=torch.uint8)[:, None, None]
    return ClassHierarchy(**SMALL, **options).select(counts).item()


def test_finest_level_with_enough_votes_is_selected():
    assert select([8, 2, 0, 0]) == 0
    assert select([7, 3, 0, 0]) == 4
    assert select([1, 1, 2, 6]) == 5
    assert select([3, 3, 2, 2]) == 6
    assert select([7, 3, 0, 0], share=0.7) == 0
    # Sums do not overflow the type of the counts.
    assert select([150, 150, 10, 0]) == 4


def test_levels_are_kept_as_they_were_given():
    hierarchy = ClassHierarchy(4, [dict(ab=(0, 1), cd=range(2, 4)), dict(all=[3, 2, 1, 0])], 0.7)
    assert hierarchy.share == 0.7
    assert hierarchy.levels == [{"ab": [0, 1], "cd": [2, 3]}, {"all": [3, 2, 1, 0]}]
    assert [name for level in hierarchy.levels for name in level] == hierarchy.groups
    assert ClassHierarchy(4, []).levels == []


def test_contains_only_classes_below():
    hierarchy = ClassHierarchy(**SMALL)
    vertices = torch.tensor([[0, 0, 4, 4, 6, 6]])
    labels = torch.tensor([[0, 1, 1, 2, 3, 255]])
    assert hierarchy.contains(vertices, labels).tolist() == [
        [True, False, True, False, True, False]
    ]


def test_information_falls_towards_the_root():
    gain = ClassHierarchy(**SMALL).information()
    assert gain.tolist() == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0])


def test_cityscapes_has_seven_categories():
    hierarchy = ClassHierarchy(**CITYSCAPES)
    assert len(hierarchy) == 19 + 7 + 1
    assert hierarchy.abstain == 26
    human = 19 + hierarchy.groups.index("human")
    labels = torch.arange(19)
    assert labels[hierarchy.contains(torch.full((19,), human), labels)].tolist() == [11, 12]
    assert hierarchy.information()[human] == pytest.approx(1 - math.log(2) / math.log(19))


def test_obstacles_are_those_of_the_published_hierarchy():
    hierarchy = ClassHierarchy(**CITYSCAPES_OBSTACLES)
    leaves = dict(zip(hierarchy.groups, hierarchy.below[19:-1].sum(1).tolist(), strict=True))
    assert leaves == {
        "road": 1,
        "sidewalk": 1,
        "construction and vegetation": 5,
        "traffic sign": 2,
        "terrain": 1,
        "sky": 1,
        "human": 2,
        "vehicle": 6,
        "flat obstacle": 2,
        "static obstacle": 7,
        "dynamic obstacle": 8,
        "obstacle": 17,
    }


@pytest.mark.parametrize("levels", [[], SMALL["levels"]])
def test_without_a_share_the_leading_class_is_selected_and_counted(levels):
    votes = ClassVotes(4, (30, 40), 7)
    for _ in range(7):
        votes.add(torch.randint(4, (30, 40)))
    hierarchy = ClassHierarchy(4, levels, share=0)
    selected = hierarchy.select(votes.counts)
    assert torch.equal(selected, votes.leaders())
    counters = HitCounter(selected, hierarchy), HitCounter(selected)
    labels = torch.randint(4, (30, 40))
    for counter in counters:
        counter.add(labels)
    assert torch.equal(counters[0].hits, counters[1].hits)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"share": 1.5}, "share must be in .* got 1.5"),
        ({"levels": [{"ab": [0, 1], "c": [2]}]}, "level 0 must hold each of .*4 classes once"),
        ({"levels": [{"abcd": [0, 1, 2, 3], "e": []}]}, "group e of level 0 has no class"),
        ({"levels": [*SMALL["levels"], {"abc": [0, 1, 2], "d": [3]}]}, "level 1 splits a group"),
    ],
)
def test_bad_hierarchies_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ClassHierarchy(**{**SMALL, **change})
