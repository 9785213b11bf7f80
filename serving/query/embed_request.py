"""Requests for vectors: pictures as JSON, as a form or as another gateway read them; each fault has its own answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, ValidationError, WithJsonSchema

from lookalike.serving.errors import ProblemError
from lookalike.serving.query.fields import RequestModel
from lookalike.serving.query.query import EmbedQuery, Picture, PictureUrl, make_crop
from lookalike.serving.query.request import CropBox, EncodedPicture, decode_picture, explain_fault, parse_json
from lookalike.serving.settings import Limits


class PictureRequest(RequestModel):
    """A picture: exactly one of `image` and `url`."""

    image: EncodedPicture | None = Field(
        None,
        description="A picture as base64; a `data:` URL is understood too. In a form it is a file.",
        json_schema_extra={"format": "byte"},
    )
    url: str | None = Field(None, description="Where a picture is, for servers that fetch from that host.")
    crop: CropBox | None = Field(
        None,
        description="The part of the picture that counts: left, top, right, bottom as fractions from 0 to 1 of the "
        "picture as it stands upright; the whole picture without this field.",
    )


class EmbedOptions(RequestModel):
    """Which vectors of pictures are wanted, and how."""

    snapshot: str | None = Field(
        None, description="The snapshot whose encoder is asked; the one that is served without this field."
    )
    projected: StrictBool = Field(
        False, description="Send vectors as the index compares them: of its dimension, and of length 1."
    )
    encoding: Literal["floats", "base64"] = Field(
        "floats",
        description="How a vector is written: as a list of numbers, or as base64 of its 32-bit floats, little-endian.",
    )


_A_PICTURE = {"$ref": f"#/components/schemas/{PictureRequest.__name__}"}


class EmbedRequest(EmbedOptions):
    """Pictures whose vectors are wanted; each is answered for itself."""

    images: Annotated[list[Any], WithJsonSchema({"type": "array", "items": _A_PICTURE, "minItems": 1})] = Field(
        description="The pictures."
    )


def read_embed_query(body: bytes, limits: Limits) -> EmbedQuery:
    """Return the pictures in a JSON body. Raises `ProblemError`."""
    return read_pictures(parse_json(body), limits)


def read_pictures(given: Any, limits: Limits) -> EmbedQuery:
    """Return the pictures in an object with the fields of `EmbedRequest`. Raises `ProblemError`.

    What is wrong with one picture is the answer to that one.
    """
    try:
        found = EmbedRequest.model_validate(given)
    except ValidationError as error:
        raise explain_fault(error, EmbedRequest) from None  # the chain would hold the whole body in memory
    check_pictures(len(found.images), limits)
    return make_embed_query(tuple(_read_one(picture) for picture in found.images), found)


def make_embed_query(pictures: tuple[Picture | PictureUrl | ProblemError, ...], options: EmbedOptions) -> EmbedQuery:
    """Return what is asked for, of pictures and options that were read apart."""
    return EmbedQuery(pictures, options.snapshot, options.projected, options.encoding == "base64")


def check_pictures(pictures: int, limits: Limits) -> None:
    """Raise `ProblemError` for no pictures, and for too many."""
    if not pictures:
        raise ProblemError("no_query", "There is no picture: send at least one.")
    if pictures > limits.max_pictures:
        raise ProblemError("too_many_pictures", f"There are {pictures} pictures: send {limits.max_pictures} at most.")


def _read_one(given: Any) -> Picture | PictureUrl | ProblemError:
    try:
        return _read_picture(PictureRequest.model_validate(given))
    except ValidationError as error:
        return explain_fault(error, PictureRequest)
    except ProblemError as problem:
        return problem


def _read_picture(found: PictureRequest) -> Picture | PictureUrl:
    if found.image is not None and found.url is not None:
        raise ProblemError("several_queries", "There are `image` and `url`: a picture is one of them.")
    crop = None if found.crop is None else make_crop(found.crop)
    if found.image is not None:
        return Picture(decode_picture(found.image), crop)
    if found.url is not None:
        return PictureUrl(found.url, crop)
    raise ProblemError("no_query", "There is no picture: send `image` or `url`.")
