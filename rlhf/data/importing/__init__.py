"""Other people's preferences, read into our records."""

from rlhf.data.importing.reading import FORMATS, Imported, guess_format, read_file

__all__ = ["FORMATS", "Imported", "guess_format", "read_file"]
