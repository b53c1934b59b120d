"""The fast formulation against the literal one."""

import pytest
import torch
import torch.nn.functional as F

from corun.networks import prior_unet
from corun.networks.planar import planar_cells, planar_prior
from corun.networks.prior_unet import AttentionBlock, PriorUNet, gram_matrix, strips
from literal_formulation import literal_attention, literal_block, literal_prior


def block_and_input(channels: int, heads: int) -> tuple[AttentionBlock, torch.Tensor]:
    torch.manual_seed(0)
    block = AttentionBlock(channels, channels // heads, 3).eval()
    with torch.no_grad():
        block.attention.rescale.copy_(torch.linspace(0.5, 3, heads).view(-1, 1, 1))
        block.attention.proj.bias.normal_()
        block.norm.weight.normal_(1, 0.2)
        block.norm.bias.normal_(0, 0.2)
    x = torch.randn(2, channels, 13, 17)
    return block, x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_equals_its_literal_form(heads: int) -> None:
    block, x = block_and_input(16, heads)
    fast = block._attend(x, block.attention.mixing_matrix(gram_matrix(x)))
    torch.testing.assert_close(fast, literal_attention(block, x), atol=2e-6, rtol=0)


def test_attention_gradients_equal_those_of_the_literal_form() -> None:
    block, x = block_and_input(8, 2)
    block, x = block.double(), x.double()
    parameters = list(block.parameters())
    fast = torch.autograd.grad(block(x).square().mean(), parameters)
    literal = torch.autograd.grad(literal_block(block, x).square().mean(), parameters)
    # The Gram matrix and its roots are computed in float32 whatever the input.
    for a, b in zip(fast, literal, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 12])
@torch.no_grad()
def test_strips_are_exact(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    block, x = block_and_input(16, 2)
    whole = literal_block(block, x)
    monkeypatch.setattr(AttentionBlock, "_strip_rows", lambda self, x: rows)
    torch.testing.assert_close(block(x), whole, atol=3e-6, rtol=0)


def test_strips_cover_every_row_once() -> None:
    for height in range(1, 20):
        for rows in range(1, 22):
            covered = [r for top, bottom in strips(height, rows) for r in range(top, bottom)]
            assert covered == list(range(height))


@torch.no_grad()
def test_prior_equals_its_literal_form(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    prior = PriorUNet(3, 1, dim=8, levels=2, ffn_expansion=2).eval()
    refined, guide = torch.rand(1, 3, 40, 48), torch.rand(1, 1, 40, 48)
    literal = literal_prior(prior, refined, guide)
    for budget in (1, 1 << 30):
        monkeypatch.setattr(prior_unet, "STRIP_ELEMENTS_CPU", budget)
        torch.testing.assert_close(prior(refined, guide), literal, atol=2e-6, rtol=0)


@pytest.mark.parametrize("size", [(40, 48), (4, 4), (4, 20)], ids=str)
@torch.no_grad()
def test_the_planar_order_of_exported_graphs_gives_the_literal_form(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    prior = PriorUNet(3, 1 + 12, dim=8, levels=2, ffn_expansion=2).eval()
    for block in (*prior.encoder, prior.bottleneck, *prior.decoder):
        for scale, shift in (
            (block.norm.weight, block.norm.bias),
            (None, block.attention.proj.bias),
        ):
            shift.normal_(0, 0.2)
            if scale is not None:
                scale.normal_(1, 0.2)
    refined, first, second = (torch.rand(2, channels, *size) for channels in (3, 1, 12))
    literal = literal_prior(prior, refined, torch.cat((first, second), 1))
    torch.testing.assert_close(
        planar_prior(prior, refined, (first, second)), literal, atol=3e-6, rtol=0
    )
    torch.testing.assert_close(
        planar_prior(prior, refined, (torch.cat((first, second), 1),)), literal, atol=3e-6, rtol=0
    )


@torch.no_grad()
def test_planar_cells_are_averages_and_what_they_lost() -> None:
    picture = torch.rand(2, 3, 12, 20)
    average, lost = planar_cells(picture, 4)
    cells = F.avg_pool2d(picture, 4)
    torch.testing.assert_close(average, cells)
    expected = 4 * (F.pixel_unshuffle(picture, 4) - cells.repeat_interleave(16, 1))
    torch.testing.assert_close(lost, expected, atol=2e-6, rtol=0)


def test_blank_input_has_finite_gradients() -> None:
    """Norms of zero maps are where a square root's gradient blows up."""
    block, x = block_and_input(8, 2)
    x = torch.zeros_like(x).requires_grad_(True)
    block(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in block.parameters())
