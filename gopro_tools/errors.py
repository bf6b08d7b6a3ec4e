"""The exceptions for what a user can mend: bad input, bad options, missing parts, full disks."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names the input, what was expected, what was found and what to do about it.
    Commands print it on stderr, without a traceback, and exit with 2.
    """


class PassingError(InputError):
    """Something failed that may well work next time: memory ran out, a file was moved away.

    Nothing is recorded of it: the run ends, and the same command resumes.
    """


def installs(extra: str) -> str:
    """The command that installs an extra, for messages.

    It names the checkout: the package is on no registry, where its name is anybody's to take.
    """
    return f"pip install '.[{extra}]' in the checkout of gopro_tools"


class OtherShardsLeftError(Exception):
    """This share of a divided run is done and stored; the share that ends last makes the result.

    The message says which are left. Commands print it and exit with 0.
    """
