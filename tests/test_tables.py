"""Comparison tables: nothing unlike in one column, and every number with what decides it."""

import csv
import io
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
from gopro_tools.dataset import BLUR_FOLDERS, BlurKind, iterate_pairs
from gopro_tools.detect import DetectConfig, detect
from gopro_tools.detection import Detections, DetectorIdentity
from gopro_tools.errors import InputError
from gopro_tools.evaluate import EvaluateConfig, Sources, evaluate
from gopro_tools.files import write_atomic
from gopro_tools.images import Rgb, encode_png, read_rgb
from gopro_tools.records import (
    RunRecord,
    check_files,
    copy_run,
    dataset_facts,
    read_record,
    recorded_run,
    seal,
)
from gopro_tools.tables import (
    Column,
    Row,
    TablesConfig,
    command,
    compare,
    published_rows,
    rows_of,
    runs_below,
    table_of,
    to_csv,
    to_latex,
    to_markdown,
)
from gopro_tools.tables.published import PUBLISHED_FILE

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
        assert table_of(rows).methods  # no method has two values for one column

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


class TestTableOf:
    @pytest.mark.parametrize("what", OTHERS)
    def test_unlike_measurements_are_refused(self, what: str) -> None:
        other = replace(PSNR, **{what: OTHERS[what]})  # type: ignore[arg-type]
        rows = [row("a", 30, origin="one.csv"), row("b", 31, other, origin="two.csv")]
        with pytest.raises(InputError) as error:
            table_of(rows)
        message = str(error.value)
        assert f"more than one {what}" in message
        assert all(part in message for part in ("one.csv", "two.csv", "--separate", "psnr_rgb"))
        table = table_of(rows, separate=True)
        assert set(table.columns) == {PSNR, other}
        assert set(table.cells) == {("a", PSNR), ("b", other)}

    def test_protocols_have_columns_of_their_own(self) -> None:
        columns = [
            replace(PSNR, quantity="ssim", protocol=name)
            for name in ("ssim_gauss", "ssim_uniform7", "ssim_matlab_rgb3d")
        ]
        table = table_of([row("a", 0.9, column) for column in columns])
        assert set(table.columns) == set(columns)

    def test_published_and_measured_have_columns_of_their_own(self) -> None:
        published = replace(PSNR, source="published")
        table = table_of([row("a", 30), row("a", 31, published)])
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
        table = table_of(rows, separate=True)
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
                table_of(rows)
        else:
            assert table_of(rows) == table

    def test_columns_are_keyed_by_the_images_not_by_their_names(self) -> None:
        one = replace(PSNR, dataset_sha256="1" * 64)
        renamed = replace(one, dataset="copy", split="", blur_kind="unstated")
        table = table_of([row("a", 30, renamed), row("b", 31, one)])
        assert table.columns == (one,)
        assert table.best == {("b", one)}
        other = replace(one, dataset_sha256="2" * 64)
        with pytest.raises(InputError, match=r"more than one dataset: .*11111111.*22222222"):
            table_of([row("a", 30, one), row("b", 31, other)])
        apart = table_of([row("a", 30, one), row("b", 31, other)], separate=True)
        assert apart.columns == (one, other)
        assert not apart.best
        headings = markdown_table(to_markdown(apart))["method"]
        assert ["11111111" in headings[0], "22222222" in headings[1]] == [True, True]

    def test_a_smaller_training_never_shares_a_row_with_the_published_method(self) -> None:
        published = row("DeepDeblur K=3", 29.08, replace(PSNR, source="published"))
        full, small = (row("deepdeblur-k3", v, scale=s) for v, s in ((29, "full"), (27, "reduced")))
        assert table_of([published, full]).methods == ("DeepDeblur K=3",)
        table = table_of([published, small])
        assert table.methods == ("DeepDeblur K=3", "DeepDeblur K=3 (reduced)")
        assert [line["scale"] for line in read_csv(to_csv(table))] == ["", "reduced"]
        with pytest.raises(InputError, match=r"more than one scale: full .*, reduced"):
            table_of([full, small])
        both = table_of([full, small, row("blurred", 25)], separate=True)
        assert not both.best, "a reduced network does not compete with a full one"
        named = row("mine", 29, scale="full", published_name="deepdeblur k3")
        assert table_of([published, named]).methods == ("DeepDeblur K=3",)

    def test_the_same_number_twice_is_one_and_another_is_refused(self) -> None:
        same = [row("blurred", 25.0, origin="one"), row("blurred", 25.0, origin="two")]
        assert len(table_of(same).cells) == 1
        with pytest.raises(InputError, match=r"blurred has two values.*one.*two"):
            table_of([same[0], row("blurred", 25.1, origin="two")])
        with pytest.raises(InputError, match="two values"):
            table_of([same[0], row("blurred", 25.0, n_images=1000)])
        undefined = [row("a", math.nan), row("a", math.nan)]
        assert len(table_of(undefined).cells) == 1

    def test_nothing(self) -> None:
        with pytest.raises(InputError, match="no numbers"):
            table_of([])

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
        table = table_of(rows)
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
        table = table_of([row("a", 1, column) for column in (ssim, *sources, PSNR)])
        assert table.columns == (PSNR, sources[1], ssim, sources[0])


def best_methods(*rows: Row) -> set[str]:
    return {method for method, _ in table_of(rows).best}


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
        assert table_of(rows).best == {("b", PSNR), ("a", ssim)}


NASTY = 'a|b*c_ <i>[x](y) & 50% $_{#}^~ \\ "q", é\nnew'


class TestRendering:
    @pytest.fixture
    def table(self) -> Any:
        published = replace(PSNR, source="published")
        lpips = replace(PSNR, quantity="lpips", protocol="lpips")
        return table_of(
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
            "dataset_sha256": "",
            "split": "test",
            "blur_kind": "gamma",
            "scale": "",
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

    def test_settings_are_listed_below(self) -> None:
        def at(settings: str, quantity: str) -> Row:
            column = replace(PSNR, quantity=quantity, protocol="yolo", settings=settings)
            return row("a", 0.5, column)

        one = to_markdown(table_of([at("iou 0.5", "recall"), at("iou 0.5", "precision")]))
        assert markdown_table(one)["method"] == ["precision ↑", "recall ↑"]
        assert one.count("- yolo, settings: iou 0.5.") == 1
        two = table_of([at("iou 0.5", "recall"), at("iou 0.6", "recall")], separate=True)
        text = to_markdown(two)
        headings = ["recall ↑<br>settings A", "recall ↑<br>settings B"]
        assert markdown_table(text)["method"] == headings
        assert "- yolo, settings A: iou 0.5." in text
        assert "- yolo, settings B: iou 0.6." in text

    def test_names_cannot_break_a_table(self) -> None:
        table = table_of([row(NASTY, 30), row("b", 29, note=NASTY)])
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
        table = table_of(rows)
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
        table = table_of([r for r in published_rows() if r.column.protocol == "ssim_matlab_rgb3d"])
        text = to_markdown(table)
        assert "0.9100" in text
        assert "0.959 " in text

    def test_undefined_and_infinite_values(self) -> None:
        table = table_of([row("a", math.inf), row("b", math.nan), row("c", 30)])
        assert markdown_table(to_markdown(table))["a"] == ["**∞**"]
        assert markdown_table(to_markdown(table))["b"] == ["–"]
        assert r"\textbf{$\infty$}" in to_latex(table)
        assert [line["value"] for line in read_csv(to_csv(table))] == ["inf", "nan", "30"]


FAST = EvaluateConfig(protocol=("nah2017", "ssim_gauss"), n_resamples=20)


class Boxes:
    """A detector that finds the brightest patch; better images give surer boxes."""

    name = "patches"
    class_names = ("patch",)

    def __init__(self, size_px: int = 16) -> None:
        self.identity = DetectorIdentity(
            weights_sha256=f"{size_px:064d}", input_size_px=0, runtime="numpy"
        )
        self.size_px = size_px

    def detect(self, images: Sequence[Rgb]) -> list[Detections]:
        found = []
        for image in images:
            y, x = np.unravel_index(image[:-16, :-16].sum(axis=2).argmax(), (16, 24))
            box = np.array([[x, y, x + self.size_px, y + self.size_px]], np.float32)
            found.append(
                Detections(
                    box_xyxy=box, score=np.array([0.9], np.float32), class_id=np.zeros(1, np.int64)
                )
            )
        return found


class Lab:
    """Datasets, restored images and scores, all made by the programs that make them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def dataset(self, name: str, seed: int = 0, split: str = "test") -> Path:
        rng = np.random.default_rng(seed)
        folder = self.root / name / split / "GOPR0384_11_00"
        for i in (1, 2):
            sharp = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
            for kind, noise in (("sharp", 0), ("blur_gamma", 24), ("blur", 40)):
                image = np.clip(sharp.astype(int) + rng.integers(-noise, noise + 1), 0, 255)
                write_atomic(folder / kind / f"{i:06d}.png", encode_png(image.astype(np.uint8)))
        return self.root / name

    def restored(
        self, name: str, dataset: Path, blur_kind: BlurKind = "gamma", scale: str | None = None
    ) -> Path:
        folder = self.root / name
        for pair in iterate_pairs(dataset, "test", blur_kind):
            image = read_rgb(pair.path(BLUR_FOLDERS[blur_kind]))
            better = np.clip(image.astype(int) + len(name), 0, 255).astype(np.uint8)
            write_atomic(folder / pair.sequence / pair.name, encode_png(better))
        record = RunRecord(
            suite="restore",
            method=name,
            scale=scale,  # type: ignore[arg-type]
            config={},
            dataset=dataset_facts(dataset, "test", blur_kind),
        )
        seal(folder, record, names=())
        return folder

    def evaluated(
        self,
        out: str,
        dataset: Path,
        *restored: Path,
        config: EvaluateConfig = FAST,
        **options: Any,
    ) -> Path:
        names = tuple(f"{folder.name}={folder}" for folder in restored)
        evaluate(Sources(dataset=dataset, restored=names, **options), config, out=self.root / out)
        return self.root / out

    def detected(self, out: str, dataset: Path, *restored: Path, **options: Any) -> Path:
        names = tuple(f"{folder.name}={folder}" for folder in restored)
        config = DetectConfig(detector="unused", n_resamples=20, overlays=0, **options)
        sources = Sources(dataset=dataset, restored=names)
        detect(sources, config, out=self.root / out, detector=Boxes())
        return self.root / out


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


class TestReading:
    def test_what_evaluate_writes(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        out = lab.evaluated("out", data, lab.restored("mine", data, scale="reduced"))
        rows = rows_of(out)
        expected = {
            (line["method"], line["metric"]): float(line["mean"])
            for line in read_csv((out / "summary.csv").read_text())
        }
        assert {(r.method, r.column.protocol): r.value for r in rows} == expected
        facts = dataset_facts(data, "test", "gamma")
        assert {r.column.dataset_sha256 for r in rows} == {facts["content_sha256"]}
        assert {(r.column.dataset, r.column.blur_kind) for r in rows} == {("demo", "gamma")}
        assert {(r.column.resolution, r.n_images) for r in rows} == {("40x32", 2)}
        assert {r.method: r.scale for r in rows} == {"blurred": "", "mine": "reduced"}

    def test_what_detect_writes(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        out = lab.detected("out", data, lab.restored("mine", data, scale="reduced"))
        rows = rows_of(out)
        assert len(rows) == 3 * 5
        recall = {r.method: r.value for r in rows if r.column.quantity == "recall"}
        (written,) = (line for line in read_csv((out / "detection.csv").read_text())
                      if line["method"] == "mine")  # fmt: skip
        assert recall["mine"] == float(written["recall"])
        assert written["scale"] == "reduced"
        settings = rows[0].column.settings
        assert settings.startswith("reference detector, reference_confidence 0.25, confidence 0.25")
        assert "detector patches" in settings
        assert {r.method: r.scale for r in rows}["mine"] == "reduced"

    def test_runs_inside_runs_keep_their_own_records(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        scores = lab.evaluated("out", data, lab.restored("mine", data, scale="reduced"))
        outer = RunRecord(suite="table1", method="reduced", scale="reduced", config={})
        with recorded_run(lab.root / "results", outer) as folder:
            copy_run(scores, folder / "scores")
            (folder / "times.csv").write_text("method\nmine\n")
        (run,) = runs_below(lab.root / "results").runs
        assert run.folder.name == "scores"
        assert list(run.rows) == [replace(r, origin=run.rows[0].origin) for r in rows_of(scores)]
        assert list(read_record(run.folder.parent).files) == ["times.csv"]

    @pytest.mark.parametrize("name", ["summary.csv", "per_image.csv"])
    @pytest.mark.parametrize("damage", ["cut", "edited", "gone"])
    def test_a_changed_file_is_noticed(self, lab: Lab, name: str, damage: str) -> None:
        out = lab.evaluated("out", lab.dataset("demo"))
        path = out / name
        lines = path.read_text().splitlines(keepends=True)
        if damage == "cut":
            path.write_text("".join(lines[:-1]))
        elif damage == "edited":
            path.write_text("".join(lines).replace("1", "2"))
        else:
            path.unlink()
        message = {"cut": "rows were written", "edited": "not as the run", "gone": "missing"}
        with pytest.raises(InputError, match=rf"{re.escape(name)}.*{message[damage]}"):
            rows_of(out)

    def test_a_run_that_was_killed_is_refused(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = lab.dataset("demo")
        lab.evaluated("out", data)

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("gopro_tools.evaluate.report.seal", killed)
        with pytest.raises(KeyboardInterrupt):
            lab.evaluated("out", data)
        with pytest.raises(InputError, match=r"no run\.json beside it.*evaluate` again"):
            rows_of(lab.root / "out")

    def test_other_json_and_unfinished_runs_do_not_count(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        lab.evaluated("all/out", data)
        lab.evaluated("all/other.partial", lab.dataset("other", seed=1))
        (lab.root / "all" / "run.json").write_text("[]")
        assert len(runs_below(lab.root / "all").runs) == 1
        empty = lab.root / "empty"
        empty.mkdir()
        for folder, message in ((empty, "no scores in it"), (lab.root / "none", "not there")):
            with pytest.raises(InputError, match=message):
                rows_of(folder)

    def test_tables_of_ours_are_no_results(self, lab: Lab) -> None:
        out = lab.detected("all/out", lab.dataset("demo"))
        compare(out, out=lab.root / "all" / "detection.csv")
        found = runs_below(lab.root / "all")
        assert (len(found.runs), found.problems) == (1, ())


class TestProvenance:
    def test_images_of_another_kind_of_blur_are_refused(self, lab: Lab) -> None:
        data = lab.dataset("demo")
        mine = lab.restored("mine", data, "linear_crf")
        with pytest.raises(InputError, match=r"restored from blur_kind linear_crf.*gamma"):
            lab.evaluated("out", data, mine)
        lab.evaluated("out", data, mine, blur_kind="linear_crf")

    def test_images_of_other_pixels_are_refused(self, lab: Lab) -> None:
        data, other = lab.dataset("demo"), lab.dataset("other", seed=1)
        mine = lab.restored("mine", other)
        for score in (lab.evaluated, lab.detected):
            with pytest.raises(InputError, match="restored from other blurred images"):
                score("out", data, mine)  # type: ignore[operator]
        assert not (lab.root / "out" / "run.json").exists()


class TestMixing:
    """Two of anything in one table: refused, and said which."""

    def refused(self, message: str, *folders: Path) -> None:
        with pytest.raises(InputError, match=message) as error:
            compare(folders)
        assert all(str(folder) in str(error.value) for folder in folders)
        assert len(compare(folders, TablesConfig(separate=True)).tables) == 1

    def test_datasets_of_one_name(self, lab: Lab) -> None:
        a, b = lab.dataset("a/data"), lab.dataset("b/data", seed=1)
        one = lab.evaluated("one", a, lab.restored("mine", a))
        two = lab.evaluated("two", b, lab.restored("yours", b))
        self.refused("more than one dataset: 'data [0-9a-f]{8}'", one, two)
        tables = compare(lab.root).tables
        assert len(tables) == 2
        assert all(len({c.dataset_sha256 for c in table.columns}) == 1 for table in tables)

    def test_one_dataset_in_two_folders_is_one(self, lab: Lab) -> None:
        a, b = lab.dataset("a/data"), lab.dataset("b/copy")
        one = lab.evaluated("one", a, lab.restored("mine", a))
        two = lab.evaluated("two", b, lab.restored("yours", b))
        (table,) = compare([one, two]).tables
        assert table.methods == ("blurred", "mine", "yours")
        assert len(compare(lab.root).tables) == 1

    def test_scales(self, lab: Lab) -> None:
        data = lab.dataset("data")
        one = lab.evaluated("one", data, lab.restored("mine", data, scale="full"))
        two = lab.evaluated("two", data, lab.restored("yours", data, scale="reduced"))
        self.refused("more than one scale: full .*, reduced", one, two)
        first, second = compare(lab.root).tables
        assert first.methods == ("blurred", "mine")
        assert second.methods == ("blurred", "yours (reduced)")

    def test_kinds_of_blur(self, lab: Lab) -> None:
        data = lab.dataset("data")
        one = lab.evaluated("one", data)
        two = lab.evaluated("two", data, blur_kind="linear_crf")
        self.refused("more than one blur_kind: 'gamma' .*'linear_crf'", one, two)
        kinds = [table.columns[0].blur_kind for table in compare(lab.root).tables]
        assert kinds == ["gamma", "linear_crf"]

    def test_protocols_have_columns_of_their_own(self, lab: Lab) -> None:
        data = lab.dataset("data")
        gauss = EvaluateConfig(protocol=("ssim_gauss",), n_resamples=20)
        uniform = EvaluateConfig(protocol=("ssim_uniform7",), n_resamples=20)
        one = lab.evaluated("one", data, lab.restored("mine", data), config=gauss)
        two = lab.evaluated("two", data, lab.restored("yours", data), config=uniform)
        (table,) = compare([one, two]).tables
        assert [column.protocol for column in table.columns] == ["ssim_gauss", "ssim_uniform7"]
        assert ("mine", table.columns[1]) not in table.cells

    def test_thresholds_of_detection(self, lab: Lab) -> None:
        data = lab.dataset("data")
        one = lab.detected("one", data)
        two = lab.detected("two", data, iou=0.6)
        self.refused("more than one settings", one, two)
        assert len(compare(lab.root).tables) == 2

    def test_two_values_for_one_cell_spoil_their_own_table_alone(self, lab: Lab) -> None:
        data, other = lab.dataset("data"), lab.dataset("other", seed=1)
        lab.evaluated("runs/one", data, lab.restored("a/mine", data))
        mine = lab.restored("b/mine", data)
        image = next(mine.rglob("*.png"))
        write_atomic(image, encode_png(255 - read_rgb(image)))
        lab.evaluated("runs/two", data, mine)
        lab.evaluated("runs/three", other)
        comparison = compare(lab.root / "runs")
        assert [table.columns[0].dataset for table in comparison.tables] == ["other"]
        assert any("mine has two values" in problem for problem in comparison.problems)


class TestCommand:
    def run(self, *arguments: object) -> int:
        return exit_code_of(lambda: tyro.cli(command, args=[str(a) for a in arguments]))

    def test_measured_beside_published(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        data = lab.dataset("GOPRO")
        mine = lab.restored("deepdeblur-k3", data, scale="reduced")
        config = EvaluateConfig(n_resamples=20)
        out = lab.evaluated("out", data, mine, config=config, dataset_name="GOPRO_Large")
        assert self.run(out, "--published") == 0
        captured = capsys.readouterr()
        first = captured.out.splitlines()[0]
        assert first.startswith("dataset GOPRO_Large test, blur kind gamma")
        # 40x32 images are not those of the published numbers.
        assert "No published numbers are comparable" in captured.err
        assert "29.08" not in captured.out

    def test_published_numbers_that_are_comparable(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = lab.dataset("GOPRO")
        config = EvaluateConfig(n_resamples=20)
        out = lab.evaluated("out", data, lab.restored("mine", data, scale="reduced"),
                            lab.restored("deepdeblur-k3", data, scale="reduced"),
                            config=config, dataset_name="GOPRO_Large")  # fmt: skip
        record = read_record(out)
        assert record.dataset is not None
        seal(out, replace(record, dataset={**record.dataset, "resolution": "1280x720"}),
             names=record.files)  # fmt: skip
        assert self.run(out, "--published") == 0
        captured = capsys.readouterr()
        found = markdown_table(captured.out)
        assert len(found["method"]) <= 8
        assert {"DeepDeblur K=3", "DeepDeblur K=3 (reduced)", "mine (reduced)"} <= set(found)
        assert "29.08" in found["DeepDeblur K=3"]
        assert "NAFNet w64" not in found, "of another kind of blur"
        assert "Left out, as no comparable numbers are published" in captured.err
        assert "Measured on 2 images, published over 1,111" in captured.err
        assert self.run(out, "--all") == 0
        assert "NAFNet w64" in capsys.readouterr().out

    def test_a_tree_gives_a_table_per_comparable_set(
        self, lab: Lab, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data, other = lab.dataset("data"), lab.dataset("other", seed=1)
        mine = lab.restored("mine", data)
        lab.evaluated("runs/a", data, mine)
        lab.detected("runs/b", data, mine)
        lab.evaluated("runs/c", other)
        assert self.run(lab.root / "runs") == 0
        text = capsys.readouterr().out
        assert text.count("| method |") == 2
        assert self.run(lab.root / "runs", "--format", "csv") == 0
        lines = read_csv(capsys.readouterr().out)
        assert {line["dataset"] for line in lines} == {"data", "other"}
        (lab.root / "runs" / "a" / "run.json").unlink()
        assert self.run(lab.root / "runs") == 1, "the rest is shown, and the folder is named"
        captured = capsys.readouterr()
        assert captured.out.count("| method |") == 2
        assert "no run.json beside it" in captured.err

    def test_format_follows_the_suffix(self, lab: Lab) -> None:
        data = lab.dataset("data")
        folder = lab.evaluated("out", data, lab.restored("mine", data))
        for name, beginning in (
            ("t.tex", r"\begin{table}"),
            ("t.csv", "method,metric,value"),
            ("t.md", "dataset data test"),
        ):
            assert self.run(folder, "-o", lab.root / "new" / name) == 0
            assert (lab.root / "new" / name).read_text().startswith(beginning)
        assert self.run(folder, "-o", lab.root / "t.md", "--format", "latex") == 0
        assert (lab.root / "t.md").read_text().startswith(r"\begin{table}")

    def test_refusals(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        data = lab.dataset("demo")
        a = lab.evaluated("a", data, lab.restored("one", data))
        b = lab.evaluated("b", data, blur_kind="linear_crf")
        assert self.run(a, b) == 2
        assert "more than one blur_kind" in capsys.readouterr().err
        assert self.run(a, b, "--separate") == 0
        assert self.run(a, b, "--blur-kind", "gamma") == 0
        capsys.readouterr()
        assert self.run(a, "--dataset", "nothing") == 2
        assert "dataset demo" in capsys.readouterr().err
        assert self.run() == 2
        assert "--published" in capsys.readouterr().err

    def test_published_numbers_alone_are_small_tables(self) -> None:
        comparison = compare([], TablesConfig(published=True))
        assert sum(len(table.cells) for table in comparison.tables) == len(published_rows())
        for table in comparison.tables:
            keys = {(c.dataset, c.blur_kind, c.resolution) for c in table.columns}
            assert len(keys) == 1
        config = TablesConfig(
            published=True,
            methods=("deepdeblur k3", "srn"),
            metrics=("ssim",),
            blur_kind="linear_crf",
        )
        (table,) = compare([], config).tables
        assert table.methods == ("SRN",)

    def test_a_comparison_shows_itself(self, lab: Lab) -> None:
        data = lab.dataset("data")
        comparison = compare(lab.evaluated("out", data, lab.restored("mine", data)))
        frame = comparison.to_dataframe()
        assert list(frame["method"].unique()) == ["blurred", "mine"]
        assert "| mine |" in comparison.to_markdown()
        assert "<td>" in comparison._repr_html_()


def test_the_results_of_this_repository_give_tables() -> None:
    """Every score under results/ has a record, and every file is as its run wrote it."""
    results = Path(__file__).parents[1] / "results"
    comparison = compare(results)
    assert comparison.problems == ()
    assert comparison.to_csv() == compare(results / "runs").to_csv()
    for path in results.rglob("run.json"):
        check_files(path.parent, read_record(path.parent))
    frame = comparison.to_dataframe()
    methods = frame[~frame["method"].isin(["sharp", "blurred"])]
    assert (methods["scale"] != "").all()
