"""Lists on the command line: with spaces or commas, in every command."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from gopro_tools.options import LISTS, words_of
from gopro_tools.synthesize.command import command


@dataclass
class Options:
    kinds: tuple[Literal["sharp", "blur"], ...] = ("sharp",)
    numbers: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    pair: tuple[int, int] = (1, 2)
    restored: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()


def parsed(*arguments: str) -> Options:
    return tyro.cli(Options, args=arguments, registry=LISTS)


@pytest.mark.parametrize("words", [["sharp", "blur"], ["sharp,blur"], ["sharp,", "blur"]])
def test_commas_are_spaces(words: list[str]) -> None:
    assert parsed("--kinds", *words).kinds == ("sharp", "blur")
    assert parsed("--numbers", "1,2", "3").numbers == (1, 2, 3)
    assert parsed("--names", "a,b", "c").names == ("a", "b", "c")
    assert parsed("--pair", "3", "4").pair == (3, 4)
    assert parsed().kinds == ("sharp",)


def test_names_of_files_stay_whole(tmp_path: Path) -> None:
    odd = tmp_path / "a,b"
    odd.mkdir()
    assert words_of([str(odd), "c,d"]) == [str(odd), "c", "d"]
    assert words_of(["SRN, released model,MPRNet"]) == ["SRN, released model", "MPRNet"]
    assert parsed("--folders", "x,y").folders == (Path("x,y"),)
    assert parsed("--restored", "a=x,y", "--restored", "b=z").restored == ("a=x,y", "b=z")


@pytest.mark.parametrize("words", ["sharp,beauty", "beauty"])
def test_a_wrong_choice_is_named(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--kinds", words)
    text = " ".join(capsys.readouterr().err.split())
    assert "'beauty' is not one of sharp, blur" in text


def test_a_command_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        tyro.cli(command, args=["--help"], registry=LISTS)
    assert stopped.value.code == 0
    assert "[{sharp,blur_gamma,blur" in capsys.readouterr().out
