"""Numbers in sentences."""


def counted(count: int, noun: str) -> str:
    """Write a count and its noun, in the plural where it must be.

    Parameters
    ----------
    count : int
    noun : str
        In the singular; those in ``x`` take ``es``, all others ``s``.
    """
    ending = "" if abs(count) == 1 else "es" if noun.endswith("x") else "s"
    return f"{count:,} {noun}{ending}"
