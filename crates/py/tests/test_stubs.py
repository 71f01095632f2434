"""The stubs say what is there: every name, every member, every parameter."""

import ast
import importlib
import inspect
from pathlib import Path

import forebay
import pytest
from forebay import _forebay, aio

FOLDER = Path(forebay.__file__).parent
STUBS = sorted(FOLDER.glob("_*.pyi"))


def defined():
    """Every function and class that the stubs define, by name; of an overloaded function the first."""
    found = {}
    for path in STUBS:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                found.setdefault(node.name, node)
    return found


DEFINED = defined()


def test_the_package_says_that_it_is_typed():
    assert (FOLDER / "py.typed").exists()


def test_every_name_of_the_native_module_has_a_stub():
    public = {name for name in dir(_forebay) if not name.startswith("_")}
    assert public == DEFINED.keys()
    reexported = {
        alias.asname
        for node in ast.parse((FOLDER / "_forebay.pyi").read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert reexported == public


def test_the_package_exports_what_it_says():
    assert sorted(forebay.__all__) == forebay.__all__
    for name in forebay.__all__:
        assert hasattr(forebay, name), name
    # What unpickling calls is nobody's business.
    internal = {"restore_dataset", "snapshot", "MetricsCollector"}
    assert {name for name in DEFINED if name not in internal} | {"__version__", "aio", "metrics", "trace"} == set(forebay.__all__)
    assert forebay.metrics.snapshot is _forebay.snapshot
    assert forebay.metrics.MetricsCollector is _forebay.MetricsCollector


def parameters(node):
    """(name, kind, default as text) of each parameter of a stub."""
    P = inspect.Parameter
    args = node.args
    positional = args.posonlyargs + args.args
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    found = []
    for index, (arg, default) in enumerate(zip(positional, defaults)):
        kind = P.POSITIONAL_ONLY if index < len(args.posonlyargs) else P.POSITIONAL_OR_KEYWORD
        found.append((arg.arg, kind, default))
    found += [(arg.arg, P.KEYWORD_ONLY, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults)]
    if args.kwarg:
        found.append((args.kwarg.arg, P.VAR_KEYWORD, None))
    return [(name, kind, P.empty if value is None else ast.literal_eval(value)) for name, kind, value in found]


def of_runtime(function):
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


FUNCTIONS = [name for name, node in DEFINED.items() if isinstance(node, ast.FunctionDef)]
CLASSES = [name for name, node in DEFINED.items() if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_parameters_of_their_stubs(name):
    assert of_runtime(getattr(_forebay, name)) == parameters(DEFINED[name])
    assert getattr(_forebay, name).__doc__ or name.startswith("restore_")


@pytest.mark.parametrize("name", CLASSES)
def test_classes_have_the_members_of_their_stubs(name):
    cls = getattr(_forebay, name)
    members = {node.name: node for node in DEFINED[name].body if isinstance(node, ast.FunctionDef)}
    declared = {node.target.id for node in DEFINED[name].body if isinstance(node, ast.AnnAssign)}
    if issubclass(cls, forebay.Error):
        assert [ast.unparse(base) for base in DEFINED[name].bases] == [base.__name__ for base in cls.__bases__]
        assert all(hasattr(cls, member) for member in declared)
        return
    public = {member for member in vars(cls) if not member.startswith("_")}
    assert public == {member for member in members if not member.startswith("_")} | declared
    assert cls.__doc__
    for member, node in members.items():
        if member == "__buffer__":
            # A method that Python shows from 3.12 on.
            continue
        assert hasattr(cls, member), member
        decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
        if not member.startswith("__") and "property" not in decorators:
            runtime = of_runtime(getattr(cls, member))
            bound = 0 if "staticmethod" in decorators else 1
            assert [p for p in runtime if p[0] != "self"] == parameters(node)[bound:], member
        if "property" in decorators:
            assert not callable(getattr(cls, member)), member


def test_dunder_methods_have_stubs():
    for name in CLASSES:
        cls = getattr(_forebay, name)
        if issubclass(cls, forebay.Error):
            continue
        stub = {node.name for node in DEFINED[name].body if isinstance(node, ast.FunctionDef)}
        uses = {"__len__", "__getitem__", "__iter__", "__next__", "__aiter__", "__dlpack__", "__dlpack_device__"}
        assert uses & vars(cls).keys() == uses & stub, name


def words(annotation):
    """The words of the literals in an annotation."""
    found = []
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
            value = ast.literal_eval(node.slice)
            found += value if isinstance(value, tuple) else [value]
    return found


def test_the_options_of_the_stub_are_those_of_the_loader():
    (init,) = [n for n in DEFINED["LoaderOptions"].body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    defaults = forebay.LoaderOptions()
    stub = {name: default for name, _, default in parameters(init)[1:]}
    assert stub.pop("preset") is None
    assert stub.keys() - defaults.to_dict().keys() == {"cache_policy"}
    assert stub == {name: getattr(defaults, name) for name in stub}
    for arg in init.args.kwonlyargs:
        for word in words(arg.annotation):
            assert getattr(forebay.LoaderOptions(**{arg.arg: word}), arg.arg) == word
        if words(arg.annotation):
            with pytest.raises(ValueError) as caught:
                forebay.LoaderOptions(**{arg.arg: "?"})
            assert all(word in str(caught.value) for word in words(arg.annotation))


def test_python_modules_export_what_they_say():
    metrics = forebay.metrics
    assert sorted(metrics.__all__) == metrics.__all__ and all(hasattr(metrics, name) for name in metrics.__all__)
    assert sorted(aio.__all__) == aio.__all__ and all(hasattr(aio, name) for name in aio.__all__)


@pytest.mark.parametrize("name", [name for name in aio.__all__ if name != "AsyncBatches"])
def test_calls_to_be_awaited_take_what_the_others_take(name):
    assert of_runtime(getattr(aio, name)) == of_runtime(getattr(forebay, name))


@pytest.mark.parametrize("name", ["numpy", "jax", "torch"])
def test_faces_are_typed_where_they_are_written(name, request):
    """They have no stubs: every function of theirs says what it takes and returns."""
    if name == "torch":
        request.getfixturevalue("torch")
    module = importlib.import_module(f"forebay.{name}")
    assert all(hasattr(module, public) for public in module.__all__)
    for path in (FOLDER / f"{name}.py", FOLDER / "_handing.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                assert node.returns is not None, f"{path.name}: {node.name}"
                assert all(arg.annotation for arg in arguments if arg.arg != "self"), f"{path.name}: {node.name}"
