"""The arithmetic of sizes in a graph is the rule that branches decide elsewhere."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from corun.export.parts import WholePart
from corun.export.picture_geometry import (
    as_number,
    between_cells,
    enlarged_rows_and_columns,
    padding_index,
    side_weights,
    working_sides,
)
from corun.networks.corun import CORUN
from corun.networks.reduction import pad_to_multiple, reduce_by_area
from corun.physics.working_picture import working_size

SIDE = st.integers(1, 9000)


@given(SIDE, SIDE, st.sampled_from([0, 500, 20_000, 307_200]), st.sampled_from([1, 4, 8, 16]))
@settings(deadline=None, max_examples=500)
def test_working_sides_are_the_working_size(
    height: int, width: int, limit: int, multiple: int
) -> None:
    sides = working_sides(as_number(height), as_number(width), limit=limit, multiple=multiple)
    size = working_size(height, width, limit, multiple)
    assert bool(sides.reduced) == (size is not None)
    expected = size or tuple(side + -side % multiple for side in (height, width))
    assert (int(sides.rows) * multiple, int(sides.columns) * multiple) == expected


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 9), (9, 3), (7, 5), (8, 8), (33, 20), (60, 61), (4, 900), (1, 2000)]
)
def test_the_working_picture_is_that_of_the_network(size: tuple[int, int]) -> None:
    hazy = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    height, width = size
    sides = working_sides(as_number(height), as_number(width), limit=600, multiple=8)
    rows, columns = int(sides.rows) * 8, int(sides.columns) * 8
    across = side_weights(width, columns, sides, hazy)
    working = side_weights(height, rows, sides, hazy) @ (hazy @ across.T)
    reduced = working_size(height, width, 600, 8)
    expected = pad_to_multiple(hazy, 8) if reduced is None else reduce_by_area(hazy, *reduced)
    torch.testing.assert_close(working, expected, atol=1e-5, rtol=0)
    if reduced is None:  # without a limit the pixels are gathered
        gathered = hazy.index_select(2, padding_index(height, rows, sides.reflected))
        gathered = gathered.index_select(3, padding_index(width, columns, sides.reflected))
        assert torch.equal(gathered, expected)


@pytest.mark.parametrize("covered", [(12, 16), (13, 97), (1, 1), (3, 4)])
def test_enlargement_is_bilinear(covered: tuple[int, int]) -> None:
    maps = torch.rand(1, 5, 3, 4, generator=torch.Generator().manual_seed(1))
    height, width = (max(1, side - 2) for side in covered)
    large = enlarged_rows_and_columns(
        maps,
        between_cells(height, 3, as_number(covered[0]), torch.float32),
        between_cells(width, 4, as_number(covered[1]), torch.float32),
    )
    expected = F.interpolate(maps, size=covered, mode="bilinear", align_corners=False)
    torch.testing.assert_close(large, expected[..., :height, :width])


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 90), (2000, 1), (20, 31), (45, 46), (44, 45), (99, 77)]
)
@pytest.mark.parametrize("name", ["cells", "plain"])
@torch.no_grad()
def test_the_whole_part_is_the_network(
    name: str, size: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    """Also at 45x46, where the working picture of 2000 pixels is a little larger than the photo."""
    network: CORUN = request.getfixturevalue(name)
    hazy = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    part = WholePart(network)
    for result, expected in zip(part(hazy), part.reference(hazy), strict=True):
        torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)
