import pytest
import torch

from mmseg_lipcert.certificates.smoothing import ClassHierarchy, ClassVotes, HitCounter

MAPS = torch.randint(0, 4, (40, 6, 7), generator=torch.Generator().manual_seed(0))
HIERARCHY = ClassHierarchy(4, [{"low": [0, 1], "high": [2, 3]}])


@pytest.mark.parametrize("draws", [5, 300])
def test_counts_are_those_of_all_maps(draws):
    maps = torch.randint(0, 4, (draws, 6, 7), generator=torch.Generator().manual_seed(0))
    votes = ClassVotes(4, (6, 7), draws)
    for labels in maps:
        votes.add(labels)
    expected = (maps[:, None] == torch.arange(4)[None, :, None, None]).sum(0)
    assert torch.equal(votes.counts.long(), expected)
    assert torch.equal(votes.leaders(), expected.argmax(0))


def test_many_equal_votes_do_not_overflow():
    votes = ClassVotes(2, (1, 1), 300)
    for _ in range(300):
        votes.add(torch.ones(1, 1, dtype=torch.int64))
    assert votes.counts.flatten().tolist() == [0, 300]


def test_among_equals_the_first_class_leads():
    votes = ClassVotes(3, (1, 1), 2)
    votes.add(torch.tensor([[2]]))
    votes.add(torch.tensor([[1]]))
    assert votes.leaders().item() == 1


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_labels_that_are_no_class_are_refused(label):
    with pytest.raises(ValueError, match=f"labels {min(label, 0)}..{max(label, 0)}; classes"):
        ClassVotes(3, (1, 2), 1).add(torch.tensor([[0, label]]))


def count(selected, hierarchy=None):
    counter = HitCounter(selected, hierarchy)
    for labels in MAPS:
        counter.add(labels)
    return counter.hits


def test_hits_are_those_of_all_maps():
    selected = torch.randint(0, 4, (6, 7), generator=torch.Generator().manual_seed(1))
    assert torch.equal(count(selected).long(), (MAPS == selected).sum(0))


def test_a_class_below_the_chosen_vertex_is_a_hit():
    low = torch.full((6, 7), 4)
    assert torch.equal(count(low, HIERARCHY).long(), (MAPS < 2).sum(0))


def test_with_a_hierarchy_classes_count_as_without():
    selected = torch.randint(0, 4, (6, 7), generator=torch.Generator().manual_seed(1))
    assert torch.equal(count(selected, HIERARCHY), count(selected))
