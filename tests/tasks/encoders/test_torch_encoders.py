"""The encoders that come from torch: exported for real, and run."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

from lookalike.data.errors import EncoderError
from lookalike.tasks.encoders import efficientnet_lite, efficientnet_lite_network, export
from lookalike.tasks.encoders.base import MODEL_FILE, EncoderSpec, encode, scale_to_unit_length
from lookalike.tasks.encoders.library import State, rename_keys
from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source, list_models
from lookalike.tasks.encoders.torch_encoder import TorchEncoder, build_network
from lookalike.tasks.encoders.torchvision_models import TorchvisionEncoder, _create_network, _cut_head
from lookalike.tasks.images import preprocessing
from lookalike.tasks.images.decode import decode
from lookalike.tasks.images.preprocessing import Preprocessing

pytestmark = pytest.mark.slow  # torch takes ten seconds to import


def picture(seed: int, format_: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((300, 200)).save(buffer, format_)
    return buffer.getvalue()


class Tiny(nn.Module):
    """A backbone that exports in a moment."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = nn.Conv2d(3, 8, 3, stride=2)
        self.pool = export.Gem()

    def forward(self, planes: Tensor) -> Tensor:
        pooled: Tensor = self.pool(torch.relu(self.layer(planes)))
        return pooled


def spec_of(dimension: int) -> EncoderSpec:
    return EncoderSpec(
        name="tiny",
        fingerprint="0" * 16,
        dimension=dimension,
        preprocessing=Preprocessing(size=32),
        pooling="gem3",
    )


def test_gem_lies_between_mean_and_maximum() -> None:
    features = torch.rand(2, 5, 4, 4)

    mean, gem, high = (export.Gem(p)(features) for p in (1.0, 3.0, 200.0))

    torch.testing.assert_close(mean, features.mean(dim=(2, 3)))
    assert (mean <= gem).all()
    assert (gem <= high).all()
    torch.testing.assert_close(high, features.amax(dim=(2, 3)), atol=0.05, rtol=0.0)


def test_normalisation_is_part_of_the_model() -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)

    planes = export.FromPixels(nn.Identity(), mean, std)(images).view(2, 3, 4, 5)

    expected = (images.permute(0, 3, 1, 2) / 255.0 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(planes, expected, atol=1e-5, rtol=1e-5)


def test_export_is_quiet_and_the_same_each_time(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = export.FromPixels(Tiny(), (0.5,) * 3, (0.5,) * 3)
    models = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        export.export(model, spec_of(8), tmp_path / name)
        models.append((tmp_path / name / MODEL_FILE).read_bytes())

    assert models[0] == models[1]
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in (tmp_path / "a").iterdir()] == [MODEL_FILE]


def test_a_model_that_cannot_be_exported(tmp_path: Path) -> None:
    class Unsteady(nn.Module):
        def forward(self, planes: Tensor) -> Tensor:
            return planes.flatten(1) if float(planes.sum()) > 0 else planes.flatten(1)[:, :8]

    with pytest.raises(EncoderError, match="cannot be exported"):
        export.export(export.FromPixels(Unsteady(), (0.5,) * 3, (0.5,) * 3), spec_of(8), tmp_path)


@pytest.mark.parametrize("pooling", efficientnet_lite.POOLINGS)
def test_a_graph_of_our_own_computes_what_the_network_does(tmp_path: Path, pooling: efficientnet_lite.Pooling) -> None:
    source = efficientnet_lite.EfficientNetLite0(pooling=pooling)

    spec = source.export(tmp_path)

    batch = np.random.default_rng(5).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    found = OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=1).infer(batch)
    np.testing.assert_allclose(found, export.run_torch(source.network(), batch), rtol=1e-3, atol=1e-4)


def test_efficientnet_lite0(tmp_path: Path) -> None:
    origin = find_source("efficientnet-lite0")
    spec = origin.export(tmp_path)
    encoder = OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=2)

    assert origin.fingerprint() == spec.fingerprint
    vectors = encode(encoder, [picture(1), picture(1, "PNG"), picture(2)])
    assert vectors.shape == (3, 1952)
    assert float(vectors[0] @ vectors[1]) > 0.98
    assert float(vectors[0] @ vectors[2]) < float(vectors[0] @ vectors[1])
    assert float(encode(encoder, [picture(1)])[0] @ vectors[0]) >= 0.9999
    half = TorchEncoder(build_network(origin, spec), spec, device="cpu")
    assert export.measure_least_cosine(encoder, half) >= 0.999


@pytest.mark.parametrize(("name", "size", "dimension"), [("efficientnet-lite2", 260, 2000)])
def test_a_larger_one_sees_the_same_kinds(name: str, size: int, dimension: int) -> None:
    """In torch: all are exported in the same way, which takes half a minute."""
    network = efficientnet_lite_network.build_network(
        name, efficientnet_lite._find_weights(name), size, "gem3+2*gem3(middle)"
    )
    model = export.FromPixels(network, efficientnet_lite._MEAN, efficientnet_lite._STD).eval()
    fit = Preprocessing(size=size, interpolation="bilinear")
    pixels = np.stack([preprocessing.apply(fit, decode(picture)) for picture in export.read_pictures()])
    with torch.inference_mode():
        vectors = scale_to_unit_length(model(torch.from_numpy(pixels)).numpy())

    assert vectors.shape[1] == export.dimension(model, size) == dimension
    assert float((vectors @ vectors.T - np.eye(len(vectors))).max()) < 0.9


def test_the_packaged_networks_have_fingerprints_of_their_own() -> None:
    names = [f"efficientnet-lite{number}" for number in range(3)]

    assert len({find_source(name).fingerprint() for name in names}) == 3


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network trained for seven classes, had it been trained."""
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None, num_classes=7).state_dict(), path)
    return path


def test_torchvision_with_weights_from_a_file(tmp_path: Path, resnet18: Path) -> None:
    origin = find_source(f"torchvision:resnet18@{resnet18}")
    spec = origin.export(tmp_path)
    encoder = OnnxEncoder(tmp_path / MODEL_FILE, spec, threads=2)

    assert (spec.dimension, spec.preprocessing.size) == (512, 224)
    assert (
        spec.fingerprint == origin.fingerprint() == find_source(f"torchvision:resnet18@file://{resnet18}").fingerprint()
    )
    assert str(resnet18.parent) not in spec.model_dump_json()
    assert encode(encoder, [picture(1), picture(2)]).shape == (2, 512)


def test_torchvision_fingerprints_need_no_download(resnet18: Path) -> None:
    names = ["torchvision:resnet18", "torchvision:resnet50", f"torchvision:resnet18@{resnet18}"]

    assert len({find_source(name).fingerprint() for name in names}) == 3


def check_that_it_has(state: State, origin: TorchvisionEncoder) -> None:
    found = origin.backbone().state_dict()
    assert len(found) > 50
    assert all(bool((state[name] == value).all()) for name, value in found.items())


@pytest.mark.parametrize("model", ["densenet121", "mnasnet0_5", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5"])
def test_weights_of_a_family_as_torch_and_safetensors_keep_them(model: str, tmp_path: Path) -> None:
    network = torchvision.models.get_model(model, weights=None)
    state = network.state_dict()
    torch.save(nn.DataParallel(network).state_dict(), tmp_path / "parallel.pth")
    torch.save({"state_dict": state}, tmp_path / "wrapped.pth")
    safetensors.torch.save_file(state, tmp_path / "bare.safetensors")

    for path in tmp_path.iterdir():
        check_that_it_has(state, TorchvisionEncoder(model, str(path)))


@pytest.mark.parametrize("model", ["densenet121", "mnasnet0_5"])
def test_torchvisions_own_weights(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From where torch keeps what it has downloaded; those of DenseNet have dots in their names."""
    state = torchvision.models.get_model(model, weights=None).state_dict()
    origin = TorchvisionEncoder(model)
    old = rename_keys(state, lambda name: re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(old, tmp_path / "hub" / "checkpoints" / Path(origin.own_weights()).name)

    check_that_it_has(state, origin)


def test_weights_from_before_training_was_counted(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")

    check_that_it_has(state, TorchvisionEncoder("resnet18", str(tmp_path / "old.pth")))


def test_weights_that_do_not_fit(tmp_path: Path, resnet18: Path) -> None:
    with pytest.raises(EncoderError, match="do not fit"):
        find_source(f"torchvision:resnet50@{resnet18}").export(tmp_path)
    with pytest.raises(EncoderError, match="do not fit"):
        find_source(f"torchvision:mobilenet_v2@{resnet18}").export(tmp_path)


def test_weights_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    tensor = tmp_path / "tensor.pth"
    torch.save(torch.zeros(3), tensor)
    whole = tmp_path / "whole.pth"
    torch.save(Tiny(), whole)  # a pickled object: never run

    for path, message in ((text, "loaded safely"), (tensor, "state dict"), (whole, "loaded safely")):
        with pytest.raises(EncoderError, match=message):
            find_source(f"torchvision:resnet18@{path}").export(tmp_path)
    with pytest.raises(EncoderError, match="cannot be read"):
        find_source(f"torchvision:resnet18@{tmp_path}/absent.pth").fingerprint()


class Unpooled(TorchvisionEncoder):
    """A network that ends where others would pool, as the image towers of some language models do."""

    def __init__(self, wide: bool = False) -> None:
        super().__init__("resnet18")
        self._wide = wide

    def backbone(self) -> nn.Module:
        return nn.Conv2d(3, 8, 32, stride=32) if self._wide else nn.Conv2d(3, 8, 224)


def test_a_network_that_gives_no_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="torchvision:resnet18 gives no vector for a picture, but 8 by 7 by 7"):
        Unpooled(wide=True).export(tmp_path)
    assert not list(tmp_path.iterdir())
    assert Unpooled().export(tmp_path).dimension == 8


def check_that_the_head_is_cut_off(model: str, device: str) -> None:
    origin = TorchvisionEncoder(model)
    size = origin.look().preprocessing.size
    with torch.device(device):
        network = _create_network(model, size)
        _cut_head(network)
        vectors = network.eval()(torch.zeros(2, 3, size, size))

    assert vectors.ndim == 2
    assert vectors.shape[1] not in {1, 1000}


FEW = {"alexnet", "convnext_tiny", "inception_v3", "mnasnet0_5", "resnet18", "squeezenet1_1", "vit_b_16", "vit_h_14"}
ALL = {name.removeprefix("torchvision:") for name in list_models("torchvision")}
# they plan their layers with numbers, which a network without any does not have; one small one stands for them
REGNETS = {name for name in ALL if name.startswith("regnet_")}


@pytest.mark.parametrize("model", sorted(FEW))
def test_the_head_is_cut_off(model: str) -> None:
    check_that_the_head_is_cut_off(model, "meta")


def test_the_head_of_a_regnet_is_cut_off() -> None:
    check_that_the_head_is_cut_off("regnet_y_400mf", "cpu")


@pytest.mark.parametrize("model", sorted(ALL - FEW - REGNETS))
def test_the_head_of_every_other_network_is_cut_off(model: str) -> None:
    check_that_the_head_is_cut_off(model, "meta")
