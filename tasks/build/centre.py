"""The centre of texts: the mean of what an encoder of pictures makes of titles, where it encodes texts, too."""

from __future__ import annotations

import io

import numpy as np

from lookalike.data.catalogue.normalised import read_catalogue_range
from lookalike.data.snapshots import blobs
from lookalike.data.snapshots.blobs import Blob
from lookalike.data.snapshots.manifest import EncoderSection
from lookalike.data.stores import ObjectStore
from lookalike.tasks.encoders.texts.base import encode_texts
from lookalike.tasks.encoders.texts.content import DEFAULT_FIELDS, read_texts
from lookalike.tasks.encoders.texts.stored import load_text_encoder

TITLES = 1000  # with more, the centre hardly moves
FEWEST_TITLES = 100  # with fewer, it is the centre of CAPTIONS, too

_THINGS = (
    "shoe,dress,shirt,jacket,hat,bag,watch,ring,necklace,pair of glasses,chair,table,lamp,sofa,bed,carpet,vase,mirror,"
    "cup,plate,pan,knife,kettle,book,toy,ball,bicycle,car,tool,phone,computer,camera,headphone,guitar,plant,flower,animal,"
    "person,house,fruit,bottle,picture,symbol,drawing"
)
CAPTIONS = tuple(f"{kind} of a {thing}" for thing in _THINGS.split(",") for kind in ("a photo", "a picture"))
"""What stands for the titles of a catalogue that has few."""


def learn_centre(store: ObjectStore, catalogue: str, products: int, encoder: EncoderSection, *, threads: int) -> Blob:
    """Store the mean of the vectors of titles, as the encoder's own tower encodes them."""
    stop = int(2**32 * min(1.0, 2 * TITLES / products))  # hashes are uniform: the first products are any
    table = read_catalogue_range(store, catalogue, 0, stop)
    titles = list(dict.fromkeys(filter(None, read_texts(table, DEFAULT_FIELDS))))[:TITLES]
    known = titles if len(titles) >= FEWEST_TITLES else [*titles, *CAPTIONS]
    assert encoder.text is not None  # noqa: S101 - who calls this has looked
    vectors = encode_texts(load_text_encoder(store.uri, encoder.text, threads), known)
    buffer = io.BytesIO()
    np.save(buffer, vectors.mean(axis=0, dtype=np.float64).astype(np.float32), allow_pickle=False)
    return blobs.put_bytes(store, buffer.getvalue())
