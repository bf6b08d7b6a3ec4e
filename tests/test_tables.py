"""Comparison tables: nothing unlike in one column, and every number with what decides it."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table_text import markdown_table, read_csv

from gopro_tools.errors import InputError
from gopro_tools.tables.model import Column, Row, table_of
from gopro_tools.tables.published import PUBLISHED_FILE, published_rows
from gopro_tools.tables.rendering import to_csv, to_latex, to_markdown

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
            (("psnr_rgb = 24.64", "beauty = 24.64"), "'beauty' is not one of"),
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
