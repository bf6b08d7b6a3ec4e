"""Comparison tables: nothing unlike in one column, and every number with what decides it."""

import csv
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from gopro_tools.console import exit_code_of
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate, write_evaluation
from gopro_tools.files import write_atomic
from gopro_tools.images import encode_png
from gopro_tools.tables import (
    QUANTITIES,
    Column,
    Row,
    TablesConfig,
    chosen_rows,
    command,
    compare,
    published_rows,
    rows_of,
    to_csv,
    to_latex,
    to_markdown,
)
from gopro_tools.tables.reading import PUBLISHED_FILE

PSNR = Column(
    quantity="psnr",
    protocol="psnr_rgb",
    dataset="GOPRO_Large",
    split="test",
    blur_kind="gamma",
    resolution="1280x720",
)


def row(method: str, value: float, column: Column = PSNR, **options: Any) -> Row:
    return Row(method=method, column=column, value=value, **({"n_images": 1111} | options))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text), strict=True))


def cells_of(line: str) -> list[str]:
    """Cells of a Markdown line, escaped bars left alone."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def markdown_table(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(cells_of(line)) for line in lines}) == 1
    return {cells_of(line)[0]: cells_of(line)[1:] for line in lines if not line.startswith("|--")}


class TestPublished:
    """published.toml says what the project's reference of facts says."""

    @pytest.mark.parametrize(
        ("method", "blur_kind", "psnr", "ssim_protocol", "ssim"),
        [
            ("blurred", "linear_crf", 25.63, "ssim_unstated", 0.858),
            ("Sun 2015", "gamma", 24.64, "ssim_matlab_rgb3d", 0.8429),
            ("DeepDeblur K=1", "gamma", 28.93, "ssim_matlab_rgb3d", 0.9100),
            ("DeepDeblur K=2", "gamma", 29.23, "ssim_matlab_rgb3d", 0.9162),
            ("DeepDeblur K=3", "gamma", 29.08, "ssim_matlab_rgb3d", 0.9135),
            ("DeepDeblur-PyTorch", "gamma", 30.40, "ssim_gauss", 0.9018),
            ("SRN", "linear_crf", 30.26, "ssim_matlab_rgb3d", 0.934),
            ("DMPHN", "linear_crf", 31.20, "ssim_unstated", 0.940),
            ("MT-RNN", "linear_crf", 31.15, "ssim_unstated", 0.945),
            ("DBGAN", "linear_crf", 31.10, "ssim_unstated", 0.942),
            ("MIMO-UNet", "linear_crf", 31.73, "ssim_unstated", 0.951),
            ("MIMO-UNet+", "linear_crf", 32.45, "ssim_unstated", 0.957),
            ("MIMO-UNet++", "linear_crf", 32.68, "ssim_unstated", 0.959),
            ("MPRNet", "linear_crf", 32.66, "ssim_matlab_rgb3d", 0.959),
            ("MPRNet, TLC", "linear_crf", 33.31, "ssim_matlab_rgb3d", 0.964),
            ("HINet", "linear_crf", 32.71, "ssim_matlab_rgb3d", 0.959),
            ("Restormer", "linear_crf", 32.92, "ssim_matlab_rgb3d", 0.961),
            ("Uformer-B", "linear_crf", 33.06, "ssim_uniform7_range2", 0.967),
            ("Stripformer", "linear_crf", 33.08, "ssim_unstated", 0.962),
            ("NAFNet w32", "linear_crf", 32.87, "ssim_matlab_rgb3d", 0.9606),
            ("NAFNet w64", "linear_crf", 33.71, "ssim_matlab_rgb3d", 0.9668),
            ("NAFNet Baseline w64", "linear_crf", 33.40, "ssim_matlab_rgb3d", 0.9649),
            ("FFTformer", "linear_crf", 34.21, "ssim_unstated", 0.969),
        ],
    )
    def test_leaderboard_at_full_size(
        self, method: str, blur_kind: str, psnr: float, ssim_protocol: str, ssim: float
    ) -> None:
        found = {
            r.column.protocol: r
            for r in published_rows()
            if (r.method, r.column.dataset, r.column.source) == (method, "GOPRO_Large", "published")
            and r.column.quantity in ("psnr", "ssim")
            and r.column.blur_kind != "unstated"  # as another paper's table prints it
        }
        assert {name: r.value for name, r in found.items()} == {
            "psnr_rgb": psnr,
            ssim_protocol: ssim,
        }
        for r in found.values():
            assert (r.column.split, r.column.blur_kind) == ("test", blur_kind)
            assert (r.column.resolution, r.n_images, r.verified) == ("1280x720", 1111, True)

    def test_other_protocols_stay_apart(self) -> None:
        psnr = {
            (r.method, r.column.protocol, r.column.resolution): r.value
            for r in published_rows()
            if r.column.quantity == "psnr" and r.column.dataset == "GOPRO_Large"
        }
        assert psnr["DeblurGAN", "psnr_rgb_truncated", "640x360"] == 28.7
        assert psnr["DeblurGANv2 Inception-ResNet", "psnr_rgb_truncated", "1280x720"] == 29.55
        assert psnr["DeblurGANv2 MobileNet", "psnr_rgb_truncated", "1280x720"] == 28.17
        assert psnr["DeblurGANv2 MobileNet-DSC", "psnr_rgb_truncated", "1280x720"] == 28.03

    def test_every_number_has_what_decides_it(self) -> None:
        rows = published_rows()
        assert len(rows) > 130
        for r in rows:
            assert r.citation
            assert r.column.dataset
            assert r.column.blur_kind in ("gamma", "linear_crf", "real", "unstated")
            assert r.column.source in ("published", "third-party re-run")
        assert compare(rows).methods  # no method has two values for one column

    def test_what_is_known_from_memory_alone_is_not_verified(self) -> None:
        doubtful = {(r.method, r.column.protocol, r.column.dataset) for r in published_rows()
                    if not r.verified}  # fmt: skip
        assert ("Kim & Lee 2014", "psnr_rgb", "GOPRO_Large") in doubtful
        assert ("DeepDeblur K=2", "psnr_koehler", "Köhler") in doubtful
        assert ("DeepDeblur K=3", "time_s", "GOPRO_Large") in doubtful
        assert ("DeblurGAN", "ssim_cw", "GOPRO_Large") in doubtful
        assert ("DeblurGAN", "psnr_rgb_truncated", "GOPRO_Large") not in doubtful
        assert ("DeblurGAN WILD", "psnr_koehler", "Köhler") not in doubtful
        detection = [r for r in published_rows() if r.column.protocol == "deblurgan-yolo"]
        assert len(detection) == 15
        assert not any(r.verified for r in detection)

    def test_detection_numbers_agree_with_each_other(self) -> None:
        found: dict[str, dict[str, float]] = {}
        for r in published_rows():
            if r.column.protocol == "deblurgan-yolo":
                found.setdefault(r.method, {})[r.column.quantity] = r.value
        for v in found.values():
            p, r_ = v["precision"], v["recall"]
            assert v["f1"] == pytest.approx(2 * p * r_ / (p + r_), abs=0.001)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("verified = true", "verified = 1"), "verified must be true or false"),
            (("verified = true", ""), "verified"),
            (('dataset = "GOPRO_Large"', ""), "dataset"),
            (('citation = "nah2017"', 'citation = "nobody"'), "nobody"),
            (("psnr_rgb = 24.64", "psnr_rgv = 24.64"), "protocol 'psnr_rgv' is not described"),
            (("psnr_rgb = 24.64", "beauty = 24.64"), "'beauty' is none of"),
            (("psnr_rgb = 24.64", 'psnr_rgb = "x"'), "could not convert"),
            (("[citations]", "[citations"), "not a readable TOML file"),
        ],
    )
    def test_a_wrong_entry_is_named(
        self, tmp_path: Path, change: tuple[str, str], message: str
    ) -> None:
        path = tmp_path / "published.toml"
        before, after = change
        text = PUBLISHED_FILE.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after, 1), encoding="utf-8")
        with pytest.raises(InputError, match=re.escape(message)) as error:
            published_rows(path)
        assert "published.toml" in str(error.value)


OTHERS = {
    "dataset": "REDS",
    "split": "train",
    "blur_kind": "linear_crf",
    "resolution": "640x360",
    "settings": "another detector",
}


class TestCompare:
    @pytest.mark.parametrize("what", OTHERS)
    def test_unlike_measurements_are_refused(self, what: str) -> None:
        other = replace(PSNR, **{what: OTHERS[what]})  # type: ignore[arg-type]
        rows = [row("a", 30, origin="one.csv"), row("b", 31, other, origin="two.csv")]
        with pytest.raises(InputError) as error:
            compare(rows)
        message = str(error.value)
        assert f"more than one {what}" in message
        assert all(part in message for part in ("one.csv", "two.csv", "--separate", "psnr_rgb"))
        table = compare(rows, separate=True)
        assert set(table.columns) == {PSNR, other}
        assert set(table.cells) == {("a", PSNR), ("b", other)}

    def test_protocols_have_columns_of_their_own(self) -> None:
        columns = [
            replace(PSNR, quantity="ssim", protocol=name)
            for name in ("ssim_gauss", "ssim_uniform7", "ssim_matlab_rgb3d")
        ]
        table = compare([row("a", 0.9, column) for column in columns])
        assert set(table.columns) == set(columns)

    def test_published_and_measured_have_columns_of_their_own(self) -> None:
        published = replace(PSNR, source="published")
        table = compare([row("a", 30), row("a", 31, published)])
        assert table.columns == (PSNR, published)
        assert table.methods == ("a",)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"),
                st.sampled_from(["psnr_rgb", "psnr_y", "ssim_gauss"]),
                st.sampled_from(["A", "B"]),
                st.sampled_from(["train", "test"]),
                st.sampled_from(["gamma", "linear_crf"]),
                st.sampled_from(["measured", "published"]),
            ),
            min_size=1,
            max_size=30,
            unique=True,
        )
    )
    def test_no_column_ever_mixes(self, keys: Sequence[tuple[str, ...]]) -> None:
        rows = [
            row(
                method,
                float(i),
                Column(
                    quantity=protocol[:4],
                    protocol=protocol,
                    dataset=dataset,
                    split=split,
                    blur_kind=blur_kind,
                    source=source,  # type: ignore[arg-type]
                ),
            )
            for i, (method, protocol, dataset, split, blur_kind, source) in enumerate(keys)
        ]
        table = compare(rows, separate=True)
        assert len(table.cells) == len(rows)
        assert all(r.column == column for (_, column), r in table.cells.items())
        assert {r.value for r in table.cells.values()} == {r.value for r in rows}
        contexts: dict[str, set[Any]] = {}
        for r in rows:
            if r.column.source == "measured":
                c = r.column
                contexts.setdefault(c.protocol, set()).add((c.dataset, c.split, c.blur_kind))
        if any(len(found) > 1 for found in contexts.values()):
            with pytest.raises(InputError, match="more than one"):
                compare(rows)
        else:
            assert compare(rows) == table

    def test_the_same_number_twice_is_one_and_another_is_refused(self) -> None:
        same = [row("blurred", 25.0, origin="one"), row("blurred", 25.0, origin="two")]
        assert len(compare(same).cells) == 1
        with pytest.raises(InputError, match=r"blurred has two values.*one.*two"):
            compare([same[0], row("blurred", 25.1, origin="two")])
        with pytest.raises(InputError, match="two values"):
            compare([same[0], row("blurred", 25.0, n_images=1000)])
        undefined = [row("a", math.nan), row("a", math.nan)]
        assert len(compare(undefined).cells) == 1

    def test_nothing(self) -> None:
        with pytest.raises(InputError, match="no numbers"):
            compare([])

    def test_measured_methods_join_the_published_row_of_their_name(self) -> None:
        published = replace(PSNR, source="published")
        rows = [
            row("mimo_unet+", 32.0),
            row("deepdeblur-k3", 28.9),
            row("mynet", 30.0),
            row("blurred", 25.0),
            row("DeepDeblur K=3", 29.08, published),
            row("MIMO-UNet", 31.73, published),
            row("MIMO-UNet+", 32.45, published),
        ]
        table = compare(rows)
        assert table.methods == (
            "blurred",
            "DeepDeblur K=3",
            "MIMO-UNet",
            "MIMO-UNet+",
            "mynet",
        )
        assert table.cells["DeepDeblur K=3", PSNR].value == 28.9
        assert ("MIMO-UNet", PSNR) not in table.cells

    def test_columns_stand_beside_their_like(self) -> None:
        ssim = replace(PSNR, quantity="ssim", protocol="ssim_gauss")
        sources = [replace(c, source="published") for c in (ssim, PSNR)]
        table = compare([row("a", 1, column) for column in (ssim, *sources, PSNR)])
        assert table.columns == (PSNR, sources[1], ssim, sources[0])


def best_methods(*rows: Row) -> set[str]:
    return {method for method, _ in compare(rows).best}


class TestBest:
    def test_direction(self) -> None:
        assert best_methods(row("a", 30), row("b", 31), row("c", 29)) == {"b"}
        lpips = replace(PSNR, quantity="lpips", protocol="lpips")
        assert best_methods(row("a", 0.2, lpips), row("b", 0.1, lpips)) == {"b"}

    def test_ties_and_infinity(self) -> None:
        assert best_methods(row("a", 31), row("b", 31), row("c", 30)) == {"a", "b"}
        assert best_methods(row("a", math.inf), row("b", 31)) == {"a"}

    def test_one_alone_is_not_best(self) -> None:
        assert best_methods(row("a", 31)) == set()
        assert best_methods(row("a", 31), row("blurred", 25)) == set()

    def test_sharp_and_blurred_do_not_compete(self) -> None:
        rows = row("sharp", 99), row("blurred", 50), row("a", 31), row("b", 30)
        assert best_methods(*rows) == {"a"}

    def test_unlike_numbers_do_not_compete(self) -> None:
        fewer = row("a", 40, n_images=1000)
        assert best_methods(fewer, row("b", 31), row("c", 30)) == {"b"}
        assert best_methods(row("a", 40, verified=False), row("b", 31), row("c", 30)) == {"b"}
        assert best_methods(row("a", math.nan), row("b", 31), row("c", 30)) == {"b"}

    def test_each_column_has_its_own(self) -> None:
        ssim = replace(PSNR, quantity="ssim", protocol="ssim_gauss")
        rows = row("a", 30), row("b", 31), row("a", 0.9, ssim), row("b", 0.8, ssim)
        assert compare(rows).best == {("b", PSNR), ("a", ssim)}


NASTY = 'a|b*c_ <i>[x](y) & 50% $_{#}^~ \\ "q", é\nnew'


class TestRendering:
    @pytest.fixture
    def table(self) -> Any:
        published = replace(PSNR, source="published")
        lpips = replace(PSNR, quantity="lpips", protocol="lpips")
        return compare(
            [
                row("mynet", 30.123456789),
                row("other", 29.5),
                row("blurred", 25.0),
                row("mynet", 0.2, lpips, n_images=1111),
                row("other", 0.1, lpips, n_images=1000, note="111 images are left out"),
                row(
                    "Old", 28.0, published, verified=False, citation="Someone 2001", printed="28.0"
                ),
            ]
        )

    def test_markdown(self, table: Any) -> None:
        text = to_markdown(table)
        found = markdown_table(text)
        assert found["method"] == [
            "PSNR (dB) ↑<br>psnr_rgb<br>measured<br>n = 1,111",
            "PSNR (dB) ↑<br>psnr_rgb<br>published<br>n = 1,111",
            "LPIPS ↓<br>lpips<br>measured",
        ]
        assert found["mynet"] == ["**30.12**", "–", "0.2000 (n = 1,111)"]
        assert found["other"] == ["29.50", "–", "0.1000 (n = 1,000)"]
        assert found["blurred"] == ["25.00", "–", "–"]
        assert found["Old"] == ["–", "28.0†", "–"]
        assert text.startswith(
            "dataset GOPRO_Large test, blur kind gamma, resolution 1280x720. Best restored value"
        )
        assert "- † written down from memory" in text
        assert "- Old: Someone 2001 (published)." in text
        assert "- other: 111 images are left out." in text

    def test_methods_as_columns_is_the_same_turned(self, table: Any) -> None:
        rows = markdown_table(to_markdown(table))
        turned = markdown_table(to_markdown(table, methods_as="columns"))
        assert turned["metric"] == [name for name in rows if name != "method"]
        assert [name.replace(", ", "<br>") for name in list(turned)[1:]] == rows["method"]
        body = [cells for name, cells in rows.items() if name != "method"]
        assert [list(line) for line in zip(*body, strict=True)] == list(turned.values())[1:]

    def test_latex(self, table: Any) -> None:
        text = to_latex(table)
        lines = [line.strip() for line in text.splitlines()]
        assert lines[0] == r"\begin{table}"
        assert lines[-1] == r"\end{table}"
        assert lines.count(r"\toprule") == lines.count(r"\midrule") == 1
        assert r"\begin{tabular}{lrrr}" in lines
        body = [line for line in lines if line.endswith(r"\\")]
        assert {line.count("&") for line in body} == {3}
        assert r"mynet & \textbf{30.12} & -- & 0.2000 (n = 1,111) \\" in body
        assert r"Old & -- & 28.0$^\dagger$ & -- \\" in body
        assert (
            r"method & PSNR (dB) $\uparrow$ & PSNR (dB) $\uparrow$ & LPIPS $\downarrow$ \\" in body
        )
        assert any(line.startswith(r"$^\dagger$ written down from memory") for line in lines)
        turned = to_latex(table, methods_as="columns")
        assert r"\begin{tabular}{lrrrr}" in turned
        assert r"PSNR (dB) $\uparrow$, psnr\_rgb, published, n = 1,111 &" in turned

    def test_csv_has_everything_at_full_precision(self, table: Any) -> None:
        found = read_csv(to_csv(table))
        assert len(found) == 6
        first = next(line for line in found if line["method"] == "mynet")
        assert first | {"note": ""} == {
            "method": "mynet",
            "metric": "psnr",
            "value": "30.123456789",
            "best": "true",
            "n_images": "1111",
            "source": "measured",
            "verified": "true",
            "protocol": "psnr_rgb",
            "settings": "",
            "dataset": "GOPRO_Large",
            "split": "test",
            "blur_kind": "gamma",
            "resolution": "1280x720",
            "color_space": "RGB",
            "rounding": "uint8",
            "ssim_kind": "",
            "higher_is_better": "true",
            "citation": "",
            "note": "",
        }
        old = next(line for line in found if line["method"] == "Old")
        assert (old["verified"], old["best"]) == ("false", "false")
        assert old["note"].startswith("† ")

    def test_settings_are_told_below(self) -> None:
        def at(settings: str, quantity: str) -> Row:
            column = replace(PSNR, quantity=quantity, protocol="yolo", settings=settings)
            return row("a", 0.5, column)

        one = to_markdown(compare([at("iou 0.5", "recall"), at("iou 0.5", "precision")]))
        assert markdown_table(one)["method"] == ["precision ↑", "recall ↑"]
        assert one.count("- yolo, settings: iou 0.5.") == 1
        two = compare([at("iou 0.5", "recall"), at("iou 0.6", "recall")], separate=True)
        text = to_markdown(two)
        headings = ["recall ↑<br>settings A", "recall ↑<br>settings B"]
        assert markdown_table(text)["method"] == headings
        assert "- yolo, settings A: iou 0.5." in text
        assert "- yolo, settings B: iou 0.6." in text

    def test_names_cannot_break_a_table(self) -> None:
        table = compare([row(NASTY, 30), row("b", 29, note=NASTY)])
        assert read_csv(to_csv(table))[0]["method"] == NASTY
        markdown = markdown_table(to_markdown(table))
        name = list(markdown)[1]
        assert name == r'a\|b\*c\_ \<i>\[x\](y) & 50% $\_{#}^\~ \\ "q", é new'
        latex = to_latex(table)
        (line,) = [
            line.strip() for line in latex.splitlines() if "50" in line and "&" in line[:60]
        ][:1]
        assert line.startswith(
            r"a\textbar{}b*c\_ \textless{}i\textgreater{}[x](y) \& 50\% \$\_\{\#\}"
            r"\textasciicircum{}\textasciitilde{} \textbackslash{}"
        )
        assert len(re.findall(r"(?<!\\)&", line)) == 1

    def test_every_doubtful_number_is_marked_in_every_format(self) -> None:
        rows = published_rows()
        table = compare(rows)
        n_doubtful = sum(not r.verified for r in table.cells.values())
        assert n_doubtful > 30
        body = "".join(
            cell for cells in markdown_table(to_markdown(table)).values() for cell in cells
        )
        assert body.count("†") == n_doubtful
        assert to_latex(table).count(r"$^\dagger$") == n_doubtful + 1
        lines = read_csv(to_csv(table))
        assert [line["verified"] == "false" for line in lines].count(True) == n_doubtful
        assert all(line["note"].startswith("†") for line in lines if line["verified"] == "false")

    def test_published_digits_are_kept(self) -> None:
        table = compare([r for r in published_rows() if r.column.protocol == "ssim_matlab_rgb3d"])
        text = to_markdown(table)
        assert "0.9100" in text
        assert "0.959 " in text

    def test_undefined_and_infinite_values(self) -> None:
        table = compare([row("a", math.inf), row("b", math.nan), row("c", 30)])
        assert markdown_table(to_markdown(table))["a"] == ["**∞**"]
        assert markdown_table(to_markdown(table))["b"] == ["–"]
        assert r"\textbf{$\infty$}" in to_latex(table)
        assert [line["value"] for line in read_csv(to_csv(table))] == ["inf", "nan", "30"]


SUMMARY = (
    "method,metric,mean,median,delta_mean,delta_low,delta_high,n_images,n_missing,blur_kind,"
    "dataset,split,bundle\n"
)
DETECTION = (
    "method,precision,recall,f1,precision_per_image,ap50,ap75,map50_95,tp,fp,fn,n_images,"
    "n_references,recall_low,recall_minus_blurred,protocol,dataset,split,blur_kind,reference,"
    "confidence,iou,detector,weights_sha256,runtime,interval,left_out\n"
)


def summary(folder: Path, method: str, mean: float, **options: object) -> Path:
    facts = {"metric": "psnr_rgb", "n": 8, "missing": 0, "kind": "gamma", "data": "demo"} | options
    text = SUMMARY
    for name, value in (("blurred", 25.0), (method, mean)):
        text += (
            f"{name},{facts['metric']},{value},{value},0,,,{facts['n']},{facts['missing']},"
            f"{facts['kind']},{facts['data']},test,nah2017\n"
        )
    write_atomic(folder / "summary.csv", text)
    return folder


def detection(folder: Path, method: str, recall: float, iou: float = 0.5) -> Path:
    text = DETECTION
    for name, value in (("sharp", 1.0), ("blurred", 0.4), (method, recall)):
        text += (
            f"{name},0.9,{value},0.7,0.8,0.6,0.5,0.45,10,2,3,8,13,0.1,0.2,yolo-consistency-v1,demo,"
            f"test,gamma,detector,0.25,{iou},yolov8n.pt,{'ab' * 32},onnx,95 % bootstrap,\n"
        )
    write_atomic(folder / "detection.csv", text)
    return folder


def record(folder: Path, **options: Any) -> Path:
    facts = {
        "suite": "restore",
        "method": "deepdeblur-k3",
        "scale": "reduced",
        "dataset": {"name": "demo", "split": "test", "blur_kind": "gamma", "n_pairs": 2},
        "results": {"psnr_rgb_db": 1.0, "ssim_gauss": 0.75, "patches_per_s": 12.0},
    } | options
    write_atomic(folder / "run.json", json.dumps(facts))
    return folder


class TestReading:
    def test_what_evaluate_really_writes(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for name in ("000001.png", "000002.png"):
            sharp = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
            for folder, strength in (("sharp", 0), ("blurred", 24), ("mine", 8)):
                noise = rng.integers(-strength, strength + 1, sharp.shape)
                image = np.clip(sharp.astype(int) + noise, 0, 255).astype(np.uint8)
                write_atomic(tmp_path / folder / name, encode_png(image))
        sources = Sources(
            sharp=tmp_path / "sharp",
            blurred=tmp_path / "blurred",
            restored=(f"mine={tmp_path / 'mine'}",),
            blur_kind="linear_crf",
        )
        evaluation = evaluate(sources, EvaluateConfig(protocol=("nah2017", "ssim_gauss"), jobs=1))
        written = write_evaluation(evaluation, tmp_path / "out")
        rows = rows_of(tmp_path / "out")
        assert {(r.method, r.column.protocol): r.value for r in rows} == {
            (w.method, w.metric): w.mean for w in written
        }
        assert {r.column.blur_kind for r in rows} == {"linear_crf"}
        assert {r.column.resolution for r in rows} == {"40x32"}
        assert {r.n_images for r in rows} == {2}

    def test_detection(self, tmp_path: Path) -> None:
        rows = rows_of(detection(tmp_path / "out", "mynet", 0.75))
        assert len(rows) == 3 * 5
        recall = next(r for r in rows if r.method == "mynet" and r.column.quantity == "recall")
        assert (recall.value, recall.n_images) == (0.75, 8)
        assert recall.column == Column(
            quantity="recall",
            protocol="yolo-consistency-v1",
            settings="reference detector, confidence 0.25, iou 0.5, detector yolov8n.pt, "
            "weights_sha256 abababababab",
            dataset="demo",
            split="test",
            blur_kind="gamma",
        )

    def test_detections_at_other_thresholds_are_refused(self, tmp_path: Path) -> None:
        rows = rows_of(detection(tmp_path / "a", "one", 0.75))
        rows += rows_of(detection(tmp_path / "b", "two", 0.75, iou=0.6))
        with pytest.raises(InputError, match="more than one settings"):
            compare(rows)

    def test_run_records(self, tmp_path: Path) -> None:
        folder = record(tmp_path / "runs/restore/deepdeblur-k3/20250101T000000Z-1")
        (folder / "per_image.csv").write_text(
            "method,sequence,name,psnr_rgb,recall\n"
            "deepdeblur-k3,s,000001.png,30.0,0.5\n"
            "deepdeblur-k3,s,000002.png,32.0,0.7\n"
            "blurred,s,000001.png,20.0,0.1\n"
        )
        rows = rows_of(tmp_path)
        assert {(r.method, r.column.protocol): (r.value, r.n_images) for r in rows} == {
            ("deepdeblur-k3 (reduced)", "psnr_rgb"): (31.0, 2),
            ("blurred", "psnr_rgb"): (20.0, 1),
            ("deepdeblur-k3 (reduced)", "ssim_gauss"): (0.75, 2),
        }
        assert {(r.column.dataset, r.column.split) for r in rows} == {("demo", "test")}

    def test_full_scale_needs_no_word_and_unfinished_runs_do_not_count(
        self, tmp_path: Path
    ) -> None:
        record(tmp_path / "a/1", scale="full")
        record(tmp_path / "a/2.partial", method="other")
        record(tmp_path / "a/3", dataset=None, method="speed")
        assert {r.method for r in rows_of(tmp_path)} == {"deepdeblur-k3"}

    def test_a_record_beside_a_summary_only_adds_the_scale(self, tmp_path: Path) -> None:
        summary(record(tmp_path / "run"), "deepdeblur-k3", 31.0)
        found = {r.method: r.value for r in rows_of(tmp_path)}
        assert found == {"blurred": 25.0, "deepdeblur-k3 (reduced)": 31.0}

    def test_several_folders_in_one(self, tmp_path: Path) -> None:
        summary(tmp_path / "a", "one", 30.0)
        summary(tmp_path / "b", "two", 31.0)
        detection(tmp_path / "b", "two", 0.7)
        table = compare(rows_of(tmp_path))
        assert table.methods == ("sharp", "blurred", "one", "two")
        assert len(table.columns) == 6

    def test_left_out_images_are_told(self, tmp_path: Path) -> None:
        rows = rows_of(summary(tmp_path / "a", "one", 30.0, n=5, missing=3))
        assert {r.note for r in rows} == {"3 images that some method lacks are left out"}
        assert {r.n_images for r in rows} == {5}

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("summary.csv", "method,mean\na,1\n", "no column metric"),
            ("summary.csv", SUMMARY + "a,psnr_rgb,x,1,0,,,8,0,gamma,d,test,b\n", "not a number"),
            ("summary.csv", SUMMARY + "a,psnr_rgb,1,1\n", "fewer cells"),
            ("summary.csv", SUMMARY + "a,beauty,1,1,0,,,8,0,gamma,d,test,b\n", "'beauty'"),
            ("summary.csv", "\x00\xff", "summary.csv"),
            ("detection.csv", "method,recall\na,1\n", "no column precision"),
            ("run.json", "{", "not a run record"),
            ("run.json", "[]", "neither in it nor below it"),
            ("notes.txt", "", "neither in it nor below it"),
        ],
    )
    def test_bad_input(self, tmp_path: Path, name: str, content: str, message: str) -> None:
        (tmp_path / name).write_bytes(content.encode("latin-1"))
        with pytest.raises(InputError, match=re.escape(message)) as error:
            rows_of(tmp_path)
        assert str(tmp_path) in str(error.value)

    def test_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="not there"):
            rows_of(tmp_path / "absent")


class TestCommand:
    def run(self, *arguments: object) -> int:
        return exit_code_of(lambda: tyro.cli(command, args=[str(a) for a in arguments]))

    def test_measured_beside_published(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        summary(tmp_path / "a", "deepdeblur-k3", 28.5, data="GOPRO_Large", n=1111)
        summary(tmp_path / "b", "mynet", 30.0, data="GOPRO_Large", n=1111)
        options = ["--published", "--blur-kind", "gamma", "--metrics", "psnr_rgb"]
        assert self.run(tmp_path / "a", tmp_path / "b", *options) == 0
        captured = capsys.readouterr()
        found = markdown_table(captured.out)
        assert ["measured" in heading for heading in found["method"]] == [True, False]
        assert ["published" in heading for heading in found["method"]] == [False, True]
        assert found["DeepDeblur K=3"] == ["28.50", "29.08"]
        assert found["mynet"] == ["**30.00**", "–"]
        assert found["Kim & Lee 2014"] == ["–", "23.64†"]
        assert "1 of them not verified" in captured.err

    def test_format_follows_the_suffix(self, tmp_path: Path) -> None:
        folder = summary(tmp_path / "a", "mynet", 30.0)
        for name, beginning in (
            ("t.tex", r"\begin{table}"),
            ("t.csv", "method,metric,value"),
            ("t.md", "protocol psnr_rgb"),
        ):
            assert self.run(folder, "-o", tmp_path / "new" / name) == 0
            assert (tmp_path / "new" / name).read_text().startswith(beginning)
        assert self.run(folder, "-o", tmp_path / "t.md", "--format", "latex") == 0
        assert (tmp_path / "t.md").read_text().startswith(r"\begin{table}")

    def test_refusals(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        a = summary(tmp_path / "a", "one", 30.0)
        b = summary(tmp_path / "b", "two", 30.0, kind="linear_crf")
        assert self.run(a, b) == 2
        assert "more than one blur_kind" in capsys.readouterr().err
        assert self.run(a, b, "--separate") == 0
        assert len(markdown_table(capsys.readouterr().out)["method"]) == 2
        assert self.run(a, b, "--blur-kind", "gamma") == 0
        assert set(markdown_table(capsys.readouterr().out)) == {"method", "blurred", "one"}
        assert self.run(a, "--dataset", "nothing") == 2
        assert "dataset demo" in capsys.readouterr().err
        assert self.run() == 2
        assert "--published" in capsys.readouterr().err

    def test_published_numbers_are_of_the_metrics_that_were_measured(self, tmp_path: Path) -> None:
        folder = detection(tmp_path / "a", "mynet", 0.7)
        rows = chosen_rows(TablesConfig(results=(folder,), published=True))
        assert {r.column.quantity for r in rows} == {*QUANTITIES} & {
            "precision", "recall", "f1", "ap50", "map50_95"
        }  # fmt: skip
        assert {r.method for r in rows if r.column.source == "published"} == {
            "blurred", "DeepDeblur", "DeblurGAN", "DeblurGAN WILD", "DeblurGAN Synth"
        }  # fmt: skip

    def test_methods_can_be_chosen(self) -> None:
        rows = chosen_rows(TablesConfig(published=True, methods=("deepdeblur k3", "srn")))
        assert {r.method for r in rows} == {"DeepDeblur K=3", "SRN"}
