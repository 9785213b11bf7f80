"""Makes the bucket, the work pool and the deployments. Run at each start; what is there already stays as it is."""

from __future__ import annotations

import os

from botocore.exceptions import ClientError
from botocore.session import get_session

from lookalike.infra import deployments

IS_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def main() -> None:
    """Read where from the environment: `LOOKALIKE_STORE`, and what clients of S3 and Prefect need."""
    make_bucket(os.environ["LOOKALIKE_STORE"])
    deployments.main()


def make_bucket(store: str) -> None:
    """Make the bucket that `s3://bucket/prefix` names, if it does not exist."""
    bucket = store.removeprefix("s3://").partition("/")[0]
    try:
        get_session().create_client("s3").create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in IS_THERE:
            raise


if __name__ == "__main__":
    main()
