"""The protocol file: its code is what would be generated, it has every field, and it breaks no client."""

from __future__ import annotations

from pathlib import Path

from lookalike.serving.grpc.pb import lookalike_pb2 as pb
from lookalike.serving.query.conditions import ConditionRequest
from lookalike.serving.query.embed_request import PictureRequest
from lookalike.serving.query.request import BatchRequest, ExampleRequest, SearchRequest
from tests.serving.grpc.generate import MODULES, PROTO, PROTOS, RELEASED, buf, generate


def test_generated_code_is_up_to_date() -> None:
    for name, text in generate().items():
        assert (MODULES / name).read_text() == text, f"{name} is old: run make proto"


def test_each_field_of_a_query_is_in_the_protocol() -> None:
    pairs = (
        (SearchRequest, pb.SearchRequest), (ExampleRequest, pb.Example), (ConditionRequest, pb.Condition),
        (BatchRequest, pb.SearchBatchRequest), (PictureRequest, pb.EmbedImage),
    )  # fmt: skip
    for model, message in pairs:
        assert {field.name for field in message.DESCRIPTOR.fields} == set(model.model_fields)


def test_the_protocol_is_in_good_style() -> None:
    done = buf("lint")
    assert done.returncode == 0, done.stdout


def test_no_client_of_the_last_release_breaks() -> None:
    done = buf("breaking", "--against", str(RELEASED))
    assert done.returncode == 0, done.stdout


def test_a_broken_client_would_be_noticed(tmp_path: Path) -> None:
    file = tmp_path / PROTO
    file.parent.mkdir(parents=True)
    file.write_text((PROTOS / PROTO).read_text().replace("optional int64 k = 9;", "optional string k = 9;"))
    (tmp_path / "buf.yaml").write_text((PROTOS / "buf.yaml").read_text())
    done = buf("breaking", str(tmp_path), "--against", str(RELEASED))
    assert done.returncode != 0
    assert '"SearchRequest" changed type' in done.stdout
