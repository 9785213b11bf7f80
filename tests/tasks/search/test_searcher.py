"""An open snapshot."""

from __future__ import annotations

from pathlib import Path

import pytest

from lookalike.data.snapshots.blobs import BlobCache
from lookalike.data.stores.local import LocalStore
from lookalike.tasks.search.filters import match_products, parse
from lookalike.tasks.search.searcher import Searcher
from tests.support.shop import Shop


def test_the_mask_of_a_filter_is_kept_and_cannot_be_written_to(tmp_path: Path) -> None:
    shop = Shop(LocalStore(tmp_path / "store"), tmp_path)
    searcher = Searcher.open(shop.store, shop.build(24), BlobCache(tmp_path / "cache"), threads=1)
    assert searcher.match(()) is None
    for text in ("price<20", "price>=20"):
        mask = searcher.match([parse(text)])
        assert mask is not None
        assert mask is searcher.match([parse(text)])
        assert mask.tolist() == match_products(searcher.products, [parse(text)]).tolist()
        with pytest.raises(ValueError, match="read-only"):
            mask[0] = True
