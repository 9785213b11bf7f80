"""The harness itself: what it measures is the same on every run, and right where the answer is known."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lookalike.tasks.encoders.onnx import OnnxEncoder
from lookalike.tasks.encoders.registry import find_source
from lookalike.tasks.images.augmentations import AUGMENTATIONS
from lookalike.tasks.images.decode import FORMATS, decode
from tests.benchmarks import embedded, quality
from tests.benchmarks.distortions import DISTORTIONS, distorted
from tests.benchmarks.learning import ALIKE, choose_others
from tests.support.pictures import drawing, write_catalogue


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many drawings as 32 dimensions can be learnt from, one of them twice, and a file that is no picture."""
    found = write_catalogue(tmp_path_factory.mktemp("pictures"), 128)
    drawing(3).save(found / "again.png")
    (found / "text.png").write_text("no picture")
    return found


def run(folder: Path, cache: Path, *more: str) -> list[dict[str, object]]:
    report = cache / "report.json"
    arguments = [str(folder), "--encoders", "fake", "--queries", "12", "--whiten", "32", "--learn", "0"]
    quality.main([*arguments, "--cache", str(cache), "--output", str(report), *more])
    read: list[dict[str, object]] = json.loads(report.read_text())["figures"]
    return read


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("size", [(160, 160), (20, 300), (2, 2)])
def test_distortions(name: str, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    drawing(1).convert("RGBA").resize(size).save(buffer, "PNG")

    once, again = distorted(buffer.getvalue(), name), distorted(buffer.getvalue(), name)

    assert once == again
    with Image.open(io.BytesIO(once)) as image:
        assert (image.format, image.mode) == ("JPEG", "RGB")
        image.load()


def png(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def seen(data: bytes) -> NDArray[np.float32]:
    return np.asarray(decode(data), dtype=np.float32)


def cut_out() -> Image.Image:
    """Wider than high, each corner another, and transparent around."""
    image = drawing(1).convert("RGBA").resize((120, 80))
    image.putalpha(Image.new("L", image.size, 0))
    image.paste(drawing(1).resize((100, 50)), (5, 20))
    return image


def long_text() -> PngInfo:
    """More than Pillow inflates, in what is no part of the picture."""
    info = PngInfo()
    info.add_text("history", "A" * (2**20 + 1), zip=True)
    return info


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparent_pictures_are_distorted_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = png(cut_out(), exif=exif)

    mirrored = seen(distorted(data, "mirror"))

    assert mirrored.shape == seen(data).shape
    assert np.abs(mirrored[:, ::-1] - seen(data)).mean() < 5  # JPEG changes a little


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(cut_out(), pnginfo=long_text()), id="a long text"),
        pytest.param(png(cut_out(), exif=b"no EXIF"), id="broken EXIF"),
        pytest.param(
            png(Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80) * 9), transparency=0), id="deep"
        ),
    ],
)
def test_what_the_product_decodes_is_distorted_as_it_decodes_it(data: bytes) -> None:
    assert np.abs(seen(distorted(data, "mirror"))[:, ::-1] - seen(data)).mean() < 5


def test_figures() -> None:
    catalogue = np.eye(20, dtype=np.float32)
    queries = catalogue[[0, 1, 2]] + 0.0
    queries[1, 5] = 2.0  # one is nearer than the original
    queries[2, 5:17] = 2.0  # and twelve

    figures = quality.found(catalogue, queries, [0, 1, 2])

    assert figures.hit_at_1 == pytest.approx(1 / 3)
    assert figures.hit_at_10 == pytest.approx(2 / 3)
    assert figures.mean_average_precision == pytest.approx((1 + 1 / 2 + 1 / 13) / 3)


def test_an_encoder_that_sees_no_difference_finds_by_chance_alone() -> None:
    collapsed = np.full((1000, 8), 8**-0.5, dtype=np.float32)

    figures = quality.found(collapsed, collapsed[:100], range(100))

    assert figures.hit_at_1 == pytest.approx(1 / 1000)
    assert figures.hit_at_10 == pytest.approx(10 / 1000)
    assert figures.mean_average_precision == pytest.approx(sum(1 / rank for rank in range(1, 1001)) / 1000)


def test_of_pictures_that_are_level_each_may_come_first() -> None:
    catalogue = np.eye(20, dtype=np.float32)
    query = catalogue[[0]] + 0.0
    query[0, 1:9] = 2.0  # eight are nearer,
    query[0, 9:12] = 1.0  # and with the original four share the ranks 9 to 12

    figures = quality.found(catalogue, query, [0])

    assert figures.hit_at_1 == 0
    assert figures.hit_at_10 == pytest.approx(2 / 4)
    assert figures.mean_average_precision == pytest.approx((1 / 9 + 1 / 10 + 1 / 11 + 1 / 12) / 4)


def test_pictures_that_show_the_same_are_one(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.bmp"):
        drawing(1).save(tmp_path / name, compress_level=1 if name == "a.png" else 9)
    drawing(2).save(tmp_path / "d.png")
    (tmp_path / "e.png").write_text("no picture")

    pictures = embedded.Pictures.below(tmp_path, None)

    assert [path.name for path in pictures.files.values()] == ["a.png", "d.png"]


def blind_to(encoder: OnnxEncoder, data: bytes) -> embedded.View:
    """The same encoder, which sees nothing in one picture."""
    unseen, view = encoder.prepare(data), embedded.View(encoder, lambda pixels: pixels)
    view.infer = lambda batch: encoder.infer(batch) * np.any(batch != unseen, axis=(1, 2, 3))[:, None]
    return view


def measured(folder: Path, cache: Path, unseen: Callable[[bytes], bytes], views: str = "plain") -> quality.Result:
    """Of four pictures, which all are among the first ten if they are found, and an encoder blind to one of them."""
    pictures = embedded.Pictures.below(write_catalogue(folder, 4), None)
    key = next(iter(pictures.files))
    encoder = blind_to(embedded.opened(cache, find_source("fake"), None, 1), unseen(pictures.read(key)))
    (result,) = quality.results(embedded.Bench(cache, encoder), encoder, pictures, pictures, views, [])
    return result


@pytest.mark.parametrize("views", ["plain", "flip"])
def test_an_original_without_a_vector_is_never_found(tmp_path: Path, views: str) -> None:
    result = measured(tmp_path / "pictures", tmp_path / "cache", lambda data: data, views)

    assert (result.catalogue, result.queries) == (3, 4 * len(DISTORTIONS))
    assert {figures.hit_at_10 for figures in result.figures.values()} == {3 / 4}


def test_a_query_without_a_vector_finds_nothing(tmp_path: Path) -> None:
    result = measured(tmp_path / "pictures", tmp_path / "cache", lambda data: distorted(data, "mirror", embedded.SEED))

    assert (result.catalogue, result.queries) == (4, 4 * len(DISTORTIONS))
    assert result.figures["mirror"].hit_at_10 == 3 / 4
    assert result.figures["crop"].hit_at_10 == 1


@pytest.mark.slow
def test_a_run_is_kept_and_repeats_itself(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(folder, tmp_path, "--views", "plain", "flip", "zoom")
    printed = capsys.readouterr().out
    monkeypatch.setattr(embedded, "embed", None)
    second = run(folder, tmp_path, "--views", "plain", "flip", "zoom")

    assert first == second
    assert capsys.readouterr().out == printed
    assert [(row["views"], row["dimension"], row["bytes_a_vector"]) for row in first] == [
        (views, *size) for views in ("plain", "flip", "zoom") for size in ((192, 384), (32, 64))
    ]
    assert {row["catalogue"] for row in first} == {128}
    assert printed.count("\n| ") == 1 + 6 + 3 * (1 + len(DISTORTIONS) + 1)


@pytest.mark.slow
def test_vectors_are_whitened_as_a_reindex_of_so_many_pictures_does(folder: Path, tmp_path: Path) -> None:
    few = write_catalogue(tmp_path / "few", 127)
    (tmp_path / "cache").mkdir()

    def dimensions(pictures: Path) -> list[tuple[object, object]]:
        rows = run(pictures, tmp_path / "cache", "--whiten", "16", "128", "256")
        return [(row["dimension"], row["space"]) for row in rows]

    assert dimensions(folder) == [(192, ""), (32, "whitened")]
    assert dimensions(few) == [(192, "")]


@pytest.mark.slow
def test_projections_are_learnt_from_pictures_that_are_not_asked_for(folder: Path, tmp_path: Path) -> None:
    pictures = embedded.Pictures.below(folder, None)
    asked = pictures.sample(12)
    others = choose_others(pictures, asked, 5)
    assert len(others.files) == 5
    assert not set(others.files) & set(asked.files)

    rows = run(folder, tmp_path, "--learn", "5")

    assert [(row["dimension"], row["space"]) for row in rows] == [
        (192, ""),
        (32, "whitened"),
        (32, "learnt"),
        (32, "learnt without its own kind"),
    ]
    assert rows[2]["figures"] != rows[3]["figures"]


def test_each_distortion_is_like_some_augmentation() -> None:
    assert ALIKE.keys() == DISTORTIONS.keys()
    assert {name for names in ALIKE.values() for name in names} == AUGMENTATIONS.keys()


def test_a_folder_without_pictures_is_told(tmp_path: Path) -> None:
    def told(folder: Path) -> str:
        with pytest.raises(SystemExit) as stopped:
            run(folder, tmp_path)
        return str(stopped.value)

    assert told(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'} is no folder: name one with pictures")
    assert told(tmp_path).startswith(f"{tmp_path} has no pictures, which are files that end in .bmp, .gif,")
    (tmp_path / "text.png").write_text("no picture")
    assert told(tmp_path) == f"no file below {tmp_path} can be decoded: give whole pictures, {', '.join(FORMATS)}"


@pytest.mark.slow
def test_it_is_the_same_whatever_was_kept(folder: Path, tmp_path: Path) -> None:
    def figures(cache: Path) -> object:
        cache.mkdir()
        return [row["figures"] for row in run(folder, cache)]

    assert figures(tmp_path / "a") == figures(tmp_path / "b")
