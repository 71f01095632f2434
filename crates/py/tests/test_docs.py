"""docs/python.md: its code runs, and its tables say what is there."""

import os
import re
from pathlib import Path

import forebay

from conftest import content

PAGE = (Path(__file__).parents[3] / "docs" / "python.md").read_text()


def options():
    """The table of options, as the loader's own table has them."""
    rows = ["| option | default | takes | |", "|---|---|---|---|"]
    defaults = forebay.LoaderOptions()
    names = [*defaults.to_dict()]
    names.insert(names.index("page_cache_mode") + 1, "cache_policy")
    for name in names:
        default = getattr(defaults, name)
        help, valid = re.fullmatch(r"(.*)\. Takes (.*)\.", getattr(forebay.LoaderOptions, name).__doc__).groups()
        rows.append(f"| `{name}` | `{default!r}` | {valid} | {help}. |")
    return "\n".join(rows)


def errors():
    """The rows of the table of errors."""
    classes = [c for c in vars(forebay).values() if isinstance(c, type) and issubclass(c, forebay.Error)]
    rows = []
    for cls in sorted(classes, key=lambda c: c.__name__):
        if cls is not forebay.Error:
            also = ", ".join(f"`{base.__name__}`" for base in cls.__bases__[1:])
            rows.append(f"| `{cls.__name__}` | `{cls.kind}` | {also} | {cls.__doc__} |")
    return "\n".join(rows)


def test_the_tables_are_those_of_the_code():
    assert options() in PAGE, options()
    assert errors() in PAGE, errors()


def test_every_name_is_explained():
    for name in forebay.__all__:
        assert name == "__version__" or re.search(rf"\b{name}\b", PAGE), name


def test_the_code_runs(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("train")
    for index in range(200):
        Path("train", f"{index:05}.bin").write_bytes(content(index, 1000 + index))
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    assert len(blocks) >= 10
    if os.environ.get("FOREBAY_NO_TORCH") == "1":
        blocks = [block for block in blocks if "torch" not in block]
    program = "\n".join(blocks)
    # Everything that a page says is read as it stands: at the top of a file, in this order.
    (tmp_path / "page.py").write_text(program)
    run("import runpy; runpy.run_path('page.py', run_name='page')")
