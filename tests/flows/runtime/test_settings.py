from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from lookalike.flows.runtime.request import RefreshParameters, Request
from lookalike.flows.runtime.settings import BatchSettings

pytestmark = pytest.mark.slow  # Prefect takes seconds to import


def test_lists_are_written_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_NOTIFY", "slack-webhook/ops, webhook/pager,")
    monkeypatch.setenv("LOOKALIKE_DASK_EMBED_RESOURCES", "GPU=1, MEMORY=8e9")
    settings = BatchSettings()
    assert settings.notify_blocks() == ["slack-webhook/ops", "webhook/pager"]
    assert settings.embed_resources() == {"GPU": 1.0, "MEMORY": 8e9}


def test_empty_is_as_good_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY", "DASK_EMBED_RESOURCES", "METRICS_TEXTFILE", "METRICS_PUSHGATEWAY", "BATCH_WORKERS"):
        monkeypatch.setenv(f"LOOKALIKE_{name}", "")
    settings = BatchSettings()
    assert (settings.notify_blocks(), settings.embed_resources()) == ([], {})
    assert (settings.metrics_textfile, settings.metrics_pushgateway, settings.batch_workers) == (None, None, None)


def test_a_store_has_one_name_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKALIKE_STORE", "./e")

    def named(store: str | None) -> str:
        return Request.of(RefreshParameters(catalogue="pictures", store=store)).store

    written = [None, "e", "./e", f"{tmp_path}/e/", f"file://{tmp_path}/e"]
    assert {named(store) for store in written} == {str(tmp_path / "e")}
    assert {named(store) for store in ("s3://shop/e", "s3://shop/e/")} == {"s3://shop/e"}
    assert named("s3://") == "s3://"


@pytest.mark.parametrize("wrong", ["GPU", "GPU=one", "=1,GPU"])
def test_resources_that_are_none_are_said_at_once(wrong: str) -> None:
    with pytest.raises(ValidationError, match="names no resources"):
        BatchSettings(dask_embed_resources=wrong)
