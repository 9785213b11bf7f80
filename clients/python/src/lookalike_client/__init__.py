"""Ask a Lookalike server: search by picture, product or vector.

`Client` waits for answers, and `AsyncClient` lets other tasks run. Everything that a program needs stands here.
"""

from lookalike_client.async_client import AsyncClient
from lookalike_client.client import Client
from lookalike_client.embeddings import Embedding, Embeddings
from lookalike_client.errors import (
    BadPictureError,
    BadRequestError,
    ConnectionFailedError,
    DeadlineExceededError,
    ForbiddenError,
    LookalikeError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    ProblemError,
    RateLimitedError,
    ServerError,
    SnapshotNotHeldError,
    UnauthorizedError,
    UnexpectedReplyError,
    UnknownProductError,
)
from lookalike_client.examples import picture, product, text, url, vector
from lookalike_client.many import Outcome, Progress
from lookalike_client.query import Query
from lookalike_client.results import (
    AsyncHit,
    AsyncProduct,
    Attribute,
    Encoder,
    Facet,
    HeldSnapshot,
    Hit,
    Like,
    Match,
    Product,
    Products,
    SearchResult,
    Snapshot,
    Suggestion,
    Understood,
    Why,
)
from lookalike_client.retries import RetryPolicy
from lookalike_client.version import VERSION

__version__ = VERSION

__all__ = [
    "AsyncClient",
    "AsyncHit",
    "AsyncProduct",
    "Attribute",
    "BadPictureError",
    "BadRequestError",
    "Client",
    "ConnectionFailedError",
    "DeadlineExceededError",
    "Embedding",
    "Embeddings",
    "Encoder",
    "Facet",
    "ForbiddenError",
    "HeldSnapshot",
    "Hit",
    "Like",
    "LookalikeError",
    "Match",
    "NotFoundError",
    "NotReadyError",
    "Outcome",
    "OverloadedError",
    "ProblemError",
    "Product",
    "Products",
    "Progress",
    "Query",
    "RateLimitedError",
    "RetryPolicy",
    "SearchResult",
    "ServerError",
    "Snapshot",
    "SnapshotNotHeldError",
    "Suggestion",
    "UnauthorizedError",
    "Understood",
    "UnexpectedReplyError",
    "UnknownProductError",
    "Why",
    "__version__",
    "picture",
    "product",
    "text",
    "url",
    "vector",
]
