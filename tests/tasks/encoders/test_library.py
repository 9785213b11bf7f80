"""Weights are read from anywhere, and nothing in them is ever run."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders.library import WeightsFile, compute_digest, fill

pytestmark = pytest.mark.slow  # torch takes ten seconds to import

STATE = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.ones(2)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(STATE, found)
    return found


def same(state: Any) -> bool:
    return state.keys() == STATE.keys() and all(bool((state[key] == value).all()) for key, value in STATE.items())


def test_safetensors(path: Path) -> None:
    weights = WeightsFile(str(path))

    assert same(weights.state())
    assert weights.digest() == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "wrapped", [STATE, {"state_dict": STATE}, {"model": {f"module.{k}": v for k, v in STATE.items()}}]
)
def test_what_torch_saves(tmp_path: Path, wrapped: Any) -> None:
    torch.save(wrapped, tmp_path / "weights.bin")

    assert same(WeightsFile(f"file://{tmp_path}/weights.bin").state())


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    trap = Trap(tmp_path / "sprung")
    torch.save({"layer.weight": trap}, tmp_path / "torch.pth")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(trap))

    for name in ("torch.pth", "plain.pkl"):
        with pytest.raises(EncoderError, match="loaded safely"):
            WeightsFile(str(tmp_path / name)).state()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x10\0\0\0\0\0\0\0{broken json    "])
def test_what_is_no_file_of_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights").write_bytes(content)

    with pytest.raises(EncoderError, match="loaded safely"):
        WeightsFile(str(tmp_path / "weights")).state()


@pytest.mark.parametrize(
    ("more", "what"), [(np.float64(3), "numpy._core.multiarray.scalar"), (Path("x"), "pathlib.PosixPath")]
)
def test_a_checkpoint_with_more_than_tensors_is_refused_in_our_words(tmp_path: Path, more: Any, what: str) -> None:
    torch.save({"state_dict": STATE, "more": more}, tmp_path / "checkpoint.pth")

    with pytest.raises(EncoderError, match=f"it holds {what}, .* save its state dict alone, as safetensors") as caught:
        WeightsFile(str(tmp_path / "checkpoint.pth")).state()
    assert "weights_only" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_script_of_torchs_is_refused_in_our_words(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates them
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.pt")
        with pytest.raises(EncoderError, match="something else than a state dict; save one alone, as safetensors"):
            WeightsFile(str(tmp_path / "script.pt")).state()


def test_what_cannot_be_read_is_not_called_unsafe(tmp_path: Path, path: Path) -> None:
    for reference in (tmp_path / "absent.pth", f"{path}#sha256={'0' * 64}"):
        with pytest.raises(EncoderError, match=r"cannot be read|have the sha256") as caught:
            WeightsFile(str(reference)).state()
        assert "safely" not in str(caught.value)


def test_a_digest_is_checked(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()

    assert same(WeightsFile(f"{path}#sha256={digest}").state())
    assert same(WeightsFile(f"{path}#SHA256={digest.upper()}").state())
    with pytest.raises(EncoderError, match=f"have the sha256 {digest}, not 0000"):
        WeightsFile(f"{path}#sha256={'0' * 64}").state()


@pytest.mark.parametrize("digest", ["", "abc", "0" * 63, "0" * 65, "g" * 64])
def test_a_digest_that_is_none_is_called_so(path: Path, digest: str) -> None:
    for origin in (path, "s3://bucket/w.pth"):
        with pytest.raises(EncoderError, match=f"has {len(digest)} characters: it is 64 hex digits"):
            WeightsFile(f"{origin}#sha256={digest}")


@pytest.mark.parametrize("url", ["s3://bucket/w.pth", "https://host/w.pth", "memory://w.pth", "simplecache::s3://b/w"])
def test_a_url_needs_a_digest(url: str) -> None:
    with pytest.raises(EncoderError, match="need their digest"):
        WeightsFile(url)
    assert WeightsFile(f"{url}#sha256={'a' * 64}").digest() == "a" * 64  # and with it nothing is read


def check_remote(uri: str, data: bytes) -> None:
    digest = hashlib.sha256(data).hexdigest()
    with fsspec.open(uri, "wb") as file:
        file.write(data)

    assert same(WeightsFile(f"{uri}#sha256={digest}").state())
    with pytest.raises(EncoderError, match="have the sha256"):
        WeightsFile(f"{uri}#sha256={digest[::-1]}").state()
    with pytest.raises(EncoderError, match="cannot be read"):
        WeightsFile(f"{uri}-absent#sha256={digest}").state()


def test_from_a_url(path: Path) -> None:
    check_remote("memory://weights.safetensors", path.read_bytes())


@pytest.mark.services
def test_from_s3(path: Path, s3_uri: str) -> None:
    check_remote(f"{s3_uri}/weights.safetensors", path.read_bytes())


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)


def test_a_network_is_filled_and_named_by_what_it_learnt() -> None:
    network, other = Network(), Network()

    fill(network, {**STATE, "head.weight": torch.zeros(1)}, "net")
    fill(other, STATE, "net")

    assert same(network.state_dict())
    assert compute_digest(network) == compute_digest(other) != compute_digest(Network())


def test_weights_that_do_not_fit() -> None:
    with pytest.raises(EncoderError, match=r"do not fit net: no layer\.bias"):
        fill(Network(), {"layer.weight": STATE["layer.weight"]}, "net")
    with pytest.raises(EncoderError, match="size mismatch"):
        fill(Network(), {**STATE, "layer.bias": torch.zeros(9)}, "net")
    fill(Network(), {"layer.weight": STATE["layer.weight"]}, "net", optional=("layer.bias",))


def test_weights_of_a_larger_model_are_refused() -> None:
    small, large = (torchvision.models.get_model(name, weights=None) for name in ("resnet18", "resnet34"))
    small.fc = nn.Identity()
    fill(small, small.state_dict() | {"fc.weight": torch.zeros(5, 512), "fc.bias": torch.zeros(5)}, "resnet18")
    with pytest.raises(EncoderError, match=r"of another model than resnet18, .* no place for \d+ of them: layer1\.2\."):
        fill(small, large.state_dict(), "resnet18")


@pytest.mark.parametrize(
    ("key", "is_refused"),
    [
        ("layer.bias_of_old", False),  # a buffer of another release
        ("text.transformer.weight", False),
        ("logit_scale", False),
        ("layer.extra.weight", True),
        ("layer.norm.bias", True),
    ],
)
def test_what_may_be_left_over(key: str, is_refused: bool) -> None:
    weights = {**STATE, key: torch.zeros(1)}
    if is_refused:
        with pytest.raises(EncoderError, match="of another model"):
            fill(Network(), weights, "net")
    else:
        fill(Network(), weights, "net")
