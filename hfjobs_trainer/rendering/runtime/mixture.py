"""The proportions of a mixture of datasets."""

from typing import Any


def cut_to_shares(parts: list[Any], shares: list[float]) -> list[Any]:
    """Keep so many first rows of each dataset that their numbers are as the shares.

    Args:
        parts: Datasets, none of which is repeated to fill its share.
        shares: Their shares, which are taken in proportion to each other.
    """
    weights = [share / sum(shares) for share in shares]
    total = min(len(part) / weight for part, weight in zip(parts, weights, strict=True))
    return [
        part.select(range(round(weight * total)))
        for part, weight in zip(parts, weights, strict=True)
    ]
