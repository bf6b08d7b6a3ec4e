"""The one exception for what a user can mend: bad input, bad options, missing parts."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names the input, what was expected, what was found and what to do about it.
    Commands print it on stderr, without a traceback, and exit with 2.
    """
