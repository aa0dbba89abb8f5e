import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmseg_lipcert.certificates.cells import (
    cell_indices,
    cell_label_counts,
    native_cells,
    native_target,
    repeat_labels,
)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5))
def test_every_image_row_has_the_logit_row_of_its_center(original, resized, stride):
    indices = cell_indices(original, resized, stride)
    expected = [int((row + 0.5) * resized / original + 1e-9) // stride for row in range(original)]
    assert indices.tolist() == expected
    assert 0 <= indices.min() and indices.max() <= (resized - 1) // stride


def test_same_size_is_the_identity():
    assert cell_indices(7, 7, 1).tolist() == list(range(7))


@given(st.integers(0, 2**31))
def test_counts_agree_with_repeating(seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 5, (9, 11), generator=generator)
    target[target == 4] = 255
    rows, columns = cell_indices(9, 6, 2), cell_indices(11, 8, 2)
    counts = cell_label_counts(target, rows, columns, (3, 4), 4)
    labels = torch.randint(0, 4, (3, 4), generator=generator)
    repeated = repeat_labels(labels, rows, columns)
    assert counts.sum() == (target != 255).sum()
    assert counts.gather(0, labels[None]).sum() == (repeated == target).sum()


def test_foreign_labels_are_not_ignored_silently():
    rows = cell_indices(2, 2, 1)
    with pytest.raises(ValueError, match="7"):
        cell_label_counts(torch.tensor([[0, 7], [1, 255]]), rows, rows, (2, 2), 4)


def test_labels_are_counted_only_where_a_logit_stands_for_several():
    target = torch.tensor([[0, 1, 255], [2, 1, 1]])

    def counted(logits, labels=target, size=(2, 3), stride=2, **options):
        cells = native_cells(logits, labels.shape, size, stride)
        return native_target(logits, labels, cells, **options)

    assert native_cells(torch.zeros(3, 2, 3), target.shape, (2, 3), 1) is None
    assert counted(torch.zeros(3, 2, 3), stride=1) is target
    counts = counted(torch.zeros(3, 1, 2))
    assert counts.tolist() == [[[1, 0]], [[2, 1]], [[1, 0]]]
    # One logit is two classes.
    binary = target.clamp_max(1)
    assert counted(torch.zeros(1, 1, 2), binary).shape == (2, 1, 2)
    with pytest.raises(ValueError, match="255"):
        counted(torch.zeros(3, 1, 2), ignore_index=2)


def test_equal_sizes_do_not_mean_that_each_label_has_its_logit():
    target = torch.arange(16).view(4, 4) % 3
    cells = native_cells(torch.zeros(3, 4, 4), target.shape, (2, 2), 1)
    counts = native_target(torch.zeros(3, 4, 4), target, cells)
    assert counts.shape == (3, 4, 4) and counts[:, 2:].sum() == counts[:, :, 2:].sum() == 0
    assert counts[:, 0, 0].sum() == 4


def test_pixels_without_a_cell_are_refused():
    with pytest.raises(ValueError, match="the last pixel belongs to logit"):
        cells = native_cells(torch.zeros(3, 1, 1), (4, 4), (4, 4), 2)
        native_target(torch.zeros(3, 1, 1), torch.zeros(4, 4, dtype=torch.long), cells)
