"""Presets: exports of well-known shop programs, found by the names in their first line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Preset:
    """How to read the export of one program.

    Attributes:
        name: for people.
        needs: columns that only this program's export has together.
        own: the columns of `id`, `image`, `title` and, where others name further pictures, `image_2` and so on.
        several: a pattern of columns with several values in one cell, with a comma between them.
        of_variants: a pattern of columns that differ between the rows of one product: their values become a list.
        parent: the column that names the product of which a row is a variant; `id` where the id is repeated; else None.
            Pictures of such rows are further pictures of the product.
        sku: the column by which `parent` names a product that has a value there.
        apostrophes: values begin with an apostrophe where a spreadsheet would take them for a formula or a date.
    """

    name: str
    needs: frozenset[str]
    own: dict[str, str]
    several: str = r"(?!)"
    of_variants: str = r"(?!)"
    parent: str | None = None
    sku: str | None = None
    apostrophes: bool = False


# WooCommerce names columns in the language of the shop. In the order of the parameters of `_woocommerce`, as the
# translations of WooCommerce have them: its CSV exporter asks them for these texts.
_WOOCOMMERCE: Final = (
    (
        "", "sku", "name", "images", "parent", "categories|tags",
        r".*_price|stock|in_stock\?", r"attribute_\d+_value\(s\)",
    ),
    (
        "German", "artikelnummer", "name", "bilder", "übergeordnetes_produkt", "kategorien|schlagwörter",
        r"regulärer_preis|angebotspreis|lager|vorrätig\?", r"attribut_\d+_wert\(e\)",
    ),
    (
        "French", "ugs", "nom", "images", "parent", "catégories|étiquettes",
        r"tarif_régulier|tarif_promo|stock|en_stock_\?", r"valeur\(s\)_de_l\u2019attribut_\d+",
    ),
    (
        "Spanish", "sku", "nombre", "imágenes", "superior", "categorías|etiquetas",
        r"precio_normal|precio_rebajado|inventario|¿en_inventario\?", r"valor\(es\)_del_atributo_\d+",
    ),
    (
        "Dutch", "artikelnummer", "naam", "afbeeldingen", "hoofd", "categorieën|tags",
        r"reguliere_prijs|actieprijs|voorraad|op_voorraad\?", r"waarde_eigenschap_\d+",
    ),
)  # fmt: skip


def _woocommerce(
    language: str, sku: str, name: str, images: str, parent: str, terms: str, of_variants: str, values: str
) -> Preset:
    return Preset(
        f"WooCommerce in {language}" if language else "WooCommerce",
        frozenset({"id", sku, name, images}),
        {"id": "id", "image": images, "title": name},
        several=f"{terms}|{values}",
        of_variants=f"{sku}|{of_variants}|{values}",
        parent=parent,
        sku=sku,
        apostrophes=True,
    )


PRESETS: Final = (
    Preset(
        "Google Merchant",
        frozenset({"id", "title", "image_link"}),
        {"id": "id", "image": "image_link", "title": "title", "image_2": "additional_image_link"},
    ),
    Preset(
        "Shopify",
        frozenset({"handle", "title", "image_src"}),
        {"id": "handle", "image": "image_src", "title": "title"},
        several="tags",
        of_variants=r"variant_.*|option\d_value|image_alt_text",
        parent="id",
        apostrophes=True,
    ),
    *(_woocommerce(*names) for names in _WOOCOMMERCE),
)
OWN_NAMES: Final = frozenset(name for preset in PRESETS for name in preset.own.values())


def find_preset(names: Sequence[str]) -> Preset | None:
    """Return the preset of an export with these columns; None where it is of no program that is known."""
    found = {plain_name(name) for name in names}
    if {"id", "image"} <= found:
        return None
    return next((preset for preset in PRESETS if preset.needs <= found), None)


def plain_name(name: str) -> str:
    """Return a column's name as presets write it: `Image Src`, `image src` and `g:image_src` are the same."""
    return re.sub(r"\s+", "_", name.strip().lower().removeprefix("g:"))
