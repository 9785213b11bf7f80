"""Problem codes, which never change their meaning, for every gateway.

Each code has its status in HTTP and in gRPC, a title, and what the caller can do. What only one protocol has, such as a
header field, is that gateway's to derive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class GrpcStatus(IntEnum):
    """The status codes of gRPC that problems have, with gRPC's own numbers."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What all problems of one code share: `status` is that of HTTP. `help` may hold Markdown's `code`."""

    status: int
    grpc: GrpcStatus
    title: str
    help: str


ERROR_CODES: Mapping[str, ErrorCode] = {
    "malformed_json": ErrorCode(
        400,
        GrpcStatus.INVALID_ARGUMENT,
        "The body is not valid JSON",
        "Send a JSON object, UTF-8, with `Content-Type: application/json`.",
    ),
    "malformed_multipart": ErrorCode(
        400,
        GrpcStatus.INVALID_ARGUMENT,
        "The form cannot be read",
        "Let your HTTP library write the form; it must name its boundary.",
    ),
    "malformed_base64": ErrorCode(
        400,
        GrpcStatus.INVALID_ARGUMENT,
        "The picture is not valid base64",
        "Encode the picture's bytes with standard base64, or send a form.",
    ),
    "bad_request": ErrorCode(
        400, GrpcStatus.INVALID_ARGUMENT, "The request cannot be understood", "`detail` says what is wrong."
    ),
    "bad_message": ErrorCode(
        400,
        GrpcStatus.INVALID_ARGUMENT,
        "A message of the stream cannot be understood",
        "`detail` says what is wrong. The stream has ended: open another, and ask what was not answered again.",
    ),
    "unexpected_message": ErrorCode(
        400,
        GrpcStatus.INVALID_ARGUMENT,
        "A message of the stream comes at the wrong time",
        "`start` is the first message of a stream, or there is none. The stream has ended.",
    ),
    "malformed_graphql": ErrorCode(
        400,
        GrpcStatus.INVALID_ARGUMENT,
        "`query` is no GraphQL",
        "`detail` says where it cannot be read.",
    ),
    "unauthorized": ErrorCode(
        401,
        GrpcStatus.UNAUTHENTICATED,
        "This takes a valid API key or token",
        "Send one as `Authorization: Bearer …` or `X-API-Key`; whoever runs the server makes you one.",
    ),
    "forbidden": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "You may not do this",
        "Your key or token lacks the scope that `detail` names.",
    ),
    "moves_off": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "This server moves no channel",
        "Set `LOOKALIKE_CONSOLE__MOVES` to let operators promote, roll back and pin, or use `lookalike snapshots`.",
    ),
    "past_off": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "This server opens no past snapshots",
        "Set `LOOKALIKE_CONSOLE__PAST_SNAPSHOTS`, or use `lookalike search --snapshot`.",
    ),
    "store_read_only": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "The store does not let this server write",
        "Let its credentials write below `channels/`, `pins/` and `leases/`, or use `lookalike snapshots`.",
    ),
    "cross_origin_refused": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "Pages of this web site may not ask",
        "The operator names the sites that may (`LOOKALIKE_WEB__CORS_ORIGINS`).",
    ),
    "urls_off": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "Search by URL is switched off",
        "Send the picture itself; the operator may allow hosts (`LOOKALIKE_URLS__ALLOWED_HOSTS`).",
    ),
    "url_not_allowed": ErrorCode(
        403,
        GrpcStatus.PERMISSION_DENIED,
        "This URL may not be fetched",
        "Only hosts that the operator names are asked, at public addresses, redirects included: send the picture.",
    ),
    "not_found": ErrorCode(
        404, GrpcStatus.NOT_FOUND, "There is nothing here", "Look at the address; `/docs` lists all."
    ),
    "unknown_product": ErrorCode(
        404,
        GrpcStatus.NOT_FOUND,
        "No such product",
        "The id must be as the catalogue wrote it, percent-encoded in a URL. It may have left with the last snapshot.",
    ),
    "unknown_snapshot": ErrorCode(
        404,
        GrpcStatus.NOT_FOUND,
        "The store has no such snapshot or channel",
        "`GET /v1/admin/snapshots` and `GET /v1/admin/channels` list them.",
    ),
    "unknown_run": ErrorCode(
        404,
        GrpcStatus.NOT_FOUND,
        "The store has nothing of such a run",
        "`GET /v1/admin/runs` lists them. What an old run left is removed with its snapshot.",
    ),
    "image_missing": ErrorCode(
        404,
        GrpcStatus.NOT_FOUND,
        "The product's picture is not there",
        "The file is no longer where the catalogue had it: reindex.",
    ),
    "method_not_allowed": ErrorCode(
        405, GrpcStatus.UNIMPLEMENTED, "This address takes another method", "`Allow` names the right one."
    ),
    "stream_idle": ErrorCode(
        408,
        GrpcStatus.DEADLINE_EXCEEDED,
        "The stream was silent for too long",
        "5 minutes by default (`LOOKALIKE_STREAM__IDLE_SECONDS`), and 10 s for a key: open it when there is work.",
    ),
    "request_timeout": ErrorCode(
        408,
        GrpcStatus.DEADLINE_EXCEEDED,
        "The body did not arrive in time",
        "Send a smaller picture, or over a faster line.",
    ),
    "duplicate_id": ErrorCode(
        409,
        GrpcStatus.ALREADY_EXISTS,
        "Two queries of the stream have one id",
        "Give an id again only when its answer has come. The stream has ended.",
    ),
    "snapshot_not_held": ErrorCode(
        409,
        GrpcStatus.ABORTED,
        "The snapshot asked for is not held",
        "It was replaced too long ago, or is not there yet: begin again at the first page, without `snapshot`.",
    ),
    "snapshot_refused": ErrorCode(
        409,
        GrpcStatus.FAILED_PRECONDITION,
        "The snapshot did not reach a limit",
        "`detail` says which. Look at it, then promote it with `force`.",
    ),
    "snapshot_damaged": ErrorCode(
        409,
        GrpcStatus.FAILED_PRECONDITION,
        "A file of the snapshot is lost or damaged",
        "Nothing was changed. Restore the object that `detail` names, or let a reindex make it again.",
    ),
    "channel_moved": ErrorCode(
        409, GrpcStatus.ABORTED, "Somebody else moved the channel first", "Nothing was changed: look again."
    ),
    "body_too_large": ErrorCode(
        413,
        GrpcStatus.RESOURCE_EXHAUSTED,
        "The body is too large",
        "10 MiB by default (`LOOKALIKE_LIMITS__MAX_BODY_BYTES`), and a million values in JSON.",
    ),
    "image_too_many_bytes": ErrorCode(
        413, GrpcStatus.INVALID_ARGUMENT, "The picture has too many bytes", "Send a smaller picture."
    ),
    "image_too_many_pixels": ErrorCode(
        413,
        GrpcStatus.INVALID_ARGUMENT,
        "The picture has too many pixels",
        "50 megapixels by default (`LOOKALIKE_LIMITS__MAX_PIXELS`); of more than two, a byte for every 200 pixels.",
    ),
    "unsupported_media_type": ErrorCode(
        415,
        GrpcStatus.INVALID_ARGUMENT,
        "This kind of body is not supported",
        "Send `multipart/form-data` or `application/json`.",
    ),
    "image_unsupported_format": ErrorCode(
        415,
        GrpcStatus.INVALID_ARGUMENT,
        "This format of pictures is not supported",
        "Send JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP; HEIC where the server has the extra `heic`.",
    ),
    "no_query": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "There is nothing to search for",
        "Send exactly one of `image`, `url`, `product_id`, `vector` and `positive`.",
    ),
    "several_queries": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "There is more than one thing to search for",
        "Send only one of them; for several pictures of one thing, `positive`.",
    ),
    "unknown_field": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "There is a field that means nothing here",
        "`detail` lists the fields; perhaps a name is misspelt.",
    ),
    "bad_field": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "A field has the wrong type or value",
        "`detail` names the field and what it must be.",
    ),
    "invalid_operation": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The GraphQL operation does not fit the schema",
        "`detail` says what is wrong; `docs/graphql.md` has the schema.",
    ),
    "operation_too_large": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The GraphQL operation asks for too much at once",
        "`detail` names the limit, which the operator sets (`LOOKALIKE_GRAPHQL__…`): split the operation.",
    ),
    "bad_k": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "`k` is out of range",
        "A whole number from 1 to 1,000 (`LOOKALIKE_LIMITS__MAX_K`).",
    ),
    "bad_offset": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "`offset` is out of range",
        "A whole number from 0 to 10,000 (`LOOKALIKE_LIMITS__MAX_OFFSET`).",
    ),
    "bad_limit": ErrorCode(
        422, GrpcStatus.INVALID_ARGUMENT, "`limit` is out of range", "A whole number from 1 to 100."
    ),
    "bad_min_score": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "`min_score` is out of range",
        "A number from -1 to 1: hits with a lower score are left out.",
    ),
    "bad_crop": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The crop box is not one",
        "`left, top, right, bottom` as fractions from 0 to 1, left before right, top above bottom; one a picture.",
    ),
    "bad_fields": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "A field of hits is not known",
        "Name any of `title`, `attributes`, `image_url`, `score`, `view` and `attributes.NAME`; `id` is always there.",
    ),
    "bad_facets": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The facets cannot be counted",
        "Name attributes, 8 at most (`LOOKALIKE_LIMITS__MAX_FACETS`).",
    ),
    "bad_sort": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "Hits cannot be sorted like this",
        "`price:asc`, `price:desc` or `score`: one attribute that is a number, a date or a time, not a list.",
    ),
    "bad_reach": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "So many hits cannot be sorted or counted",
        "Ask for a `reach` of 1 to 20,000.",
    ),
    "bad_group_by": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "Hits cannot be grouped by this",
        "Name one attribute that has one value a product, not a list.",
    ),
    "bad_collapse": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "Duplicates cannot be collapsed like this",
        "`exact` for products with the same picture, `duplicates` for near-duplicates too.",
    ),
    "bad_size": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "There is no picture of this size",
        "Ask for a `size` of 64, 128, 256, 512 or 1024, or for none.",
    ),
    "unknown_view": ErrorCode(
        404,
        GrpcStatus.NOT_FOUND,
        "The product has no such picture",
        "`pictures` of the product says how many it has; the first `view` is 1.",
    ),
    "reply_too_large": ErrorCode(
        422,
        GrpcStatus.RESOURCE_EXHAUSTED,
        "The reply would be too large",
        "32 MiB of products by default (`LOOKALIKE_LIMITS__MAX_REPLY_BYTES`): ask for fewer hits with `k`, or name the "
        "`fields` that you need.",
    ),
    "too_many_examples": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The query has too many examples",
        "16 at most (`LOOKALIKE_LIMITS__MAX_EXAMPLES`).",
    ),
    "too_many_queries": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The batch has too many queries",
        "32 at most (`LOOKALIKE_LIMITS__MAX_QUERIES`): send several batches.",
    ),
    "too_many_pictures": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The batch has too many pictures",
        "64 at most (`LOOKALIKE_LIMITS__MAX_PICTURES`): send several batches.",
    ),
    "bad_filter": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "A filter cannot be understood",
        'Write `category=shoes`, `price<=50`, `brand in acme,zeta` or `"sold in store"=yes`, with a value of the '
        "attribute's type.",
    ),
    "too_many_filters": ErrorCode(
        422, GrpcStatus.INVALID_ARGUMENT, "There are too many filters", "32 at most (`LOOKALIKE_LIMITS__MAX_FILTERS`)."
    ),
    "unknown_attribute": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "No product has this attribute",
        "`GET /v1/snapshots/current` lists the attributes.",
    ),
    "vector_length": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The vector has the wrong length",
        "As long as `encoder.dimension` of `GET /v1/snapshots/current`.",
    ),
    "vector_not_finite": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The vector holds NaN or Infinity",
        "Send finite numbers that fit into 32 bits.",
    ),
    "vector_zero": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The vector has no direction",
        "Send a vector that points somewhere; examples must not cancel each other out.",
    ),
    "image_empty": ErrorCode(
        422, GrpcStatus.INVALID_ARGUMENT, "The picture is empty", "The file has no bytes: look at how you read it."
    ),
    "image_not_an_image": ErrorCode(
        422, GrpcStatus.INVALID_ARGUMENT, "This is not a picture", "Send JPEG, PNG, WebP, AVIF, GIF, TIFF or BMP."
    ),
    "no_text_channel": ErrorCode(
        422,
        GrpcStatus.FAILED_PRECONDITION,
        "This snapshot cannot be searched by text",
        "Run `lookalike reindex`: it builds an index of words, unless `LOOKALIKE_WORDS` is false, or no product has a "
        "title. For `meaning` and `looks` name an encoder of texts, too: `--text-encoder minilm`.",
    ),
    "bad_text": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "This text cannot be searched for",
        "Send 1 to 512 letters, with a word or a number among them.",
    ),
    "bad_weights": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The weights are wrong",
        "Name `picture`, `words`, `meaning`, `looks`, `shows` or `colour`, each with a number from 0 to 100, and let "
        "what you ask for have one above 0.",
    ),
    "image_damaged": ErrorCode(
        422, GrpcStatus.INVALID_ARGUMENT, "The picture is damaged", "The file is cut off or broken: send it again."
    ),
    "image_too_small": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "The picture is too small",
        "Both sides must have at least 2 pixels, those of what `crop` leaves too.",
    ),
    "url_malformed": ErrorCode(
        422,
        GrpcStatus.INVALID_ARGUMENT,
        "This is no URL that can be fetched",
        "Write `https://host/path` with a plain host name: no user, no odd spelling of an address.",
    ),
    "url_missing": ErrorCode(
        422,
        GrpcStatus.NOT_FOUND,
        "There is nothing behind this URL",
        "Its server says that there is no such file, or that it is not for us.",
    ),
    "overloaded": ErrorCode(
        429, GrpcStatus.RESOURCE_EXHAUSTED, "The server is busy", "Wait for `Retry-After` seconds, then try again."
    ),
    "rate_limited": ErrorCode(
        429,
        GrpcStatus.RESOURCE_EXHAUSTED,
        "You ask too often",
        "Wait for `Retry-After` seconds; the operator sets the rate (`LOOKALIKE_RATES__PER_KEY`). A batch is many.",
    ),
    "too_many_streams": ErrorCode(
        429,
        GrpcStatus.RESOURCE_EXHAUSTED,
        "There are too many streams",
        "64 in each worker, 8 of one caller by default (`LOOKALIKE_STREAM__STREAMS`, `LOOKALIKE_STREAM__PER_CALLER`): "
        "one stream carries many queries.",
    ),
    "head_too_large": ErrorCode(
        431,
        GrpcStatus.RESOURCE_EXHAUSTED,
        "The request's head is too large",
        "Its address and header fields may have 64 KiB, and there may be 100 fields: send fewer or smaller cookies.",
    ),
    "cancelled": ErrorCode(
        499, GrpcStatus.CANCELLED, "The query was cancelled", "You cancelled it: ask again if you want an answer."
    ),
    "internal": ErrorCode(
        500, GrpcStatus.INTERNAL, "Something went wrong here", "Try again; then tell the operator the `request_id`."
    ),
    "image_unreadable": ErrorCode(
        502,
        GrpcStatus.UNAVAILABLE,
        "The product's picture cannot be read",
        "The place where pictures are kept does not answer, or holds no picture: try again.",
    ),
    "url_unreachable": ErrorCode(
        502,
        GrpcStatus.UNAVAILABLE,
        "The URL's server did not answer as it should",
        "Try again later, or send the picture itself.",
    ),
    "not_ready": ErrorCode(
        503,
        GrpcStatus.UNAVAILABLE,
        "No snapshot is being served yet",
        "`detail` says why: mostly, nothing has been published yet. The server becomes ready by itself.",
    ),
    "stopping": ErrorCode(
        503,
        GrpcStatus.UNAVAILABLE,
        "The stream ends",
        "The server stops, or the stream is as old as it may be: open another, and ask what was not answered again.",
    ),
    "store_unavailable": ErrorCode(
        503,
        GrpcStatus.UNAVAILABLE,
        "The store does not answer",
        "Searches are answered. Look at the channel before you move it again: the last move may have been made.",
    ),
    "access_unavailable": ErrorCode(
        503,
        GrpcStatus.UNAVAILABLE,
        "Tokens cannot be verified right now",
        "Their issuer does not answer: wait for `Retry-After` seconds. API keys work.",
    ),
    "deadline_exceeded": ErrorCode(
        504,
        GrpcStatus.DEADLINE_EXCEEDED,
        "The answer took too long",
        "10 seconds by default (`LOOKALIKE_LIMITS__REQUEST_SECONDS`): try again later.",
    ),
}
