"""Files that are given out: names nobody can guess, answers with ranges, other formats, and their end."""
