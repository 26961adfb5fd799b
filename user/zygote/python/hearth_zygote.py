#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""A Python process as an image: loads modules, then forks instances on request.

    hearth_zygote.py [--socket PATH] [--keep-fd FD]... MODULE...

The socket is --socket, or the listening descriptor that HEARTH_ZYGOTE_FD names. With
a lock in HEARTH_ZYGOTE_LOCK, what is installed must be what it says (hearth_lock.py).
An instance runs what the request's argv[0] says: FILE as __main__, or
MODULE:FUNCTION, called without arguments; sys.argv is the request's argv.

A module that keeps state which must differ between instances (a random generator
of its own, an id) registers a hook:

    import hearth_zygote
    hearth_zygote.after_fork(lambda: rng.bit_generator.__setstate__(...))

`random`, `secrets`, `uuid4` and numpy's global generator are reseeded without one.
Hash seed and address layout are those of the image, in all its instances.
"""
import ctypes
import functools
import gc
import importlib
import os
import sys
import time
import types

ERROR_BYTES = 256
EXIT_FAILED = 125
# of CPython's allocator of small blocks; four times less before 3.10, where each pool then begins so
POOL_BYTES, POOL_HEADER_BYTES = 16384, 48
HOLES_BYTES = 1 << 18  # of each size, at most; some hundred KB altogether are usual
SONAME = "libhearth-zygote.so.1"
_hooks = []
_skipped = []  # hooks of others, which have nothing to do in an instance
_kept = []     # what serve() needs: its end in an instance would write to where its parts lie
_numpy_words = 0, 0  # where its global generator keeps them, bytes
_WARM = '''
import os, sys
class Warm:
    def __init__(self, *words, **keys):
        self.words = [f"{w}" for w in words]
def warm(event={"a": 1}):
    try:
        return sorted(Warm(*event, x=2).words) + [open("/proc/self/comm").read(), os.listdir("/"), os.stat("/")]
    except (OSError, ValueError) as error:
        raise KeyError from error
warm()
'''


class Options(ctypes.Structure):
    WARM = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    _fields_ = [("runtime", ctypes.c_char_p), ("keep_fds", ctypes.POINTER(ctypes.c_int)),
                ("n_keep_fds", ctypes.c_size_t), ("owner", ctypes.c_uint),
                ("after_fork", ctypes.c_void_p), ("arg", ctypes.c_void_p), ("warm", WARM)]


class Child(ctypes.Structure):
    _fields_ = [("argc", ctypes.c_int), ("argv", ctypes.POINTER(ctypes.c_char_p)),
                ("env", ctypes.POINTER(ctypes.c_char_p)), ("n_extra", ctypes.c_int), ("conn", ctypes.c_int)]


def after_fork(hook):
    """Calls hook() in every instance, before its handler is loaded."""
    _hooks.append(hook)
    return hook


def _library():
    # PyDLL keeps the interpreter's lock: nobody else is there to want it
    library = ctypes.PyDLL(os.environ.get("HEARTH_ZYGOTE_LIB", SONAME))
    library.hearth_zygote_started.restype = None
    return library


def listen(path):
    error = ctypes.create_string_buffer(ERROR_BYTES)
    fd = _library().hearth_zygote_listen(os.fsencode(path), error)
    if fd < 0:
        raise OSError(-fd, error.value.decode(errors="replace"))
    return fd


def serve(fd, keep_fds=()):
    """Returns in every instance: (argv, function to call once it has started or failed)."""
    library, child = _library(), Child()
    error = ctypes.create_string_buffer(ERROR_BYTES)
    runtime = f"python {sys.version.split()[0]}".encode()
    kept = (ctypes.c_int * len(keep_fds))(*keep_fds)
    options = Options(runtime, kept, len(keep_fds), ctypes.c_uint(-1).value, warm=Options.WARM(_warm))
    sys.stdout.flush()
    sys.stderr.flush()
    _find_numpy_words()
    ctypes.pythonapi.PyOS_BeforeFork()
    _warm(None)
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    _skip_hook_of_threading()
    _kept.extend((options, kept, error))
    gc.collect()
    _fill_holes()
    gc.freeze()  # a collection in an instance does not touch, and so copy, the image's pages
    while True:
        _before_fork()
        result = library.hearth_zygote_serve(fd, ctypes.byref(options), ctypes.byref(child), error)
        if result == 1:
            ctypes.pythonapi.PyOS_AfterFork_Child()
            break
        ctypes.pythonapi.PyOS_AfterFork_Parent()
        if result != -4:  # EINTR: Python's own signal handlers run now
            raise OSError(-result, error.value.decode(errors="replace"))

    def started(why=None):
        library.hearth_zygote_started(ctypes.byref(child), why and why.encode(errors="replace"))

    if child.env:
        _take_environment(child.env)
    return [os.fsdecode(child.argv[i]) for i in range(child.argc)], started


def _warm(_):
    """What every start does. In the image: what is done for the first time there is not done for the first time
    in each instance. In a spare: the pages that it writes to are copied before there is a request."""
    ctypes.pythonapi.PyOS_AfterFork_Child()
    exec(compile(_WARM, "warm", "exec"), types.ModuleType("warm").__dict__)
    os.environ.update(dict(os.environ))
    _reseed_numpy()
    _before_fork()


def _fill_holes():
    """What an instance allocates lies together then, and not in the gaps of pages that it has to copy for it."""
    if os.environ.get("PYTHONMALLOC") or sys.flags.dev_mode:
        return  # another allocator
    allocate = ctypes.pythonapi.PyObject_Malloc
    allocate.argtypes, allocate.restype = [ctypes.c_size_t], ctypes.c_void_p
    for size in range(16, 513, 16):
        for _ in range(HOLES_BYTES // size):
            if allocate(size) % POOL_BYTES == POOL_HEADER_BYTES:
                break  # the first of a pool that nobody has used


def _skip_hook_of_threading():
    """It copies 90 pages to say that the one thread of an instance is its one thread. _warm() has had it said in the
    image. In a fork of an instance's own it says what it always says."""
    hook = getattr(sys.modules.get("threading"), "_after_fork", None)
    # what later versions do there is not known
    if isinstance(hook, types.FunctionType) and not hook.__closure__ and sys.version_info < (3, 12):
        os.register_at_fork(before=functools.partial(setattr, hook, "__code__", hook.__code__))
        _skipped.append(hook)


def _before_fork():
    ctypes.pythonapi.PyOS_BeforeFork()
    for hook in _skipped:
        hook.__code__ = _nothing.__code__


def _nothing():
    pass


def _take_environment(env):
    wanted = {}
    for i in range(sys.maxsize):
        if env[i] is None:
            break
        name, _, value = env[i].partition(b"=")
        wanted[os.fsdecode(name)] = os.fsdecode(value)
    zone = os.environ.get("TZ")
    os.environ.clear()
    os.environ.update(wanted)
    if wanted.get("TZ") != zone:
        time.tzset()
    sys.path[:0] = [p for p in wanted.get("PYTHONPATH", "").split(":") if p]


def _find_numpy_words():
    """seed() takes a millisecond; an instance writes what it would write. It has no half of a pair of normals then."""
    global _numpy_words
    if "numpy.random" not in sys.modules:
        return
    random = sys.modules["numpy.random"]
    random.seed()
    generator = random.get_state(legacy=False)
    if generator["bit_generator"] == "MT19937":
        _numpy_words = random.mtrand._rand._bit_generator.ctypes.state_address, generator["state"]["key"].nbytes


def _reseed_numpy():
    address, size = _numpy_words
    if address:
        ctypes.memmove(address, os.urandom(size), size)
    elif "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()


def load(name):
    """What to call for an argv[0]."""
    module_name, colon, function = name.rpartition(":")
    if colon and "/" not in name:
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        return getattr(importlib.import_module(module_name), function)
    with open(name, "rb") as file:
        code = compile(file.read(), name, "exec")
    main = types.ModuleType("__main__")
    main.__file__ = name
    sys.modules["__main__"] = main
    sys.path.insert(0, os.path.dirname(os.path.abspath(name)))
    return lambda: exec(code, main.__dict__)


def run(argv, started):
    """The life of an instance."""
    sys.argv = argv
    if os.isatty(1):
        sys.stdout.reconfigure(line_buffering=True)  # as after an exec; the image's is its log
    try:
        _reseed_numpy()
        for hook in _hooks:
            hook()
        function = load(argv[0])
    except BaseException as error:  # whatever a module raises while it is imported
        started(f"{argv[0]}: {type(error).__name__}: {error}")
        sys.exit(EXIT_FAILED)
    started()
    sys.exit(function())


def _close_inherited(kept):
    """What the starter left open is none of the modules' doing: it must not keep the image from serving."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # it was the listing's own


def _load_modules(modules):
    lock = os.environ.pop("HEARTH_ZYGOTE_LOCK", "")
    if not lock:
        for module in modules:
            importlib.import_module(module)
        return
    import hearth_lock
    try:
        hearth_lock.load(lock, modules)
    except hearth_lock.Wrong as error:
        sys.exit(f"hearth_zygote: lock: {error}")


def main(words):
    sys.modules["hearth_zygote"] = sys.modules[__name__]  # the one that hooks register with
    path, keep_fds, modules = None, [], []
    while words:
        word = words.pop(0)
        if word in ("--socket", "--keep-fd") and words:
            value = words.pop(0)
            if word == "--socket":
                path = value
            else:
                keep_fds.append(int(value))
        elif word.startswith("-"):
            sys.exit(f"hearth_zygote: {word}: known are --socket PATH, --keep-fd FD and modules")
        else:
            modules.append(word)
    try:
        fd = -1 if path else int(os.environ.pop("HEARTH_ZYGOTE_FD"))
        _close_inherited({fd, *keep_fds})
        if path:
            fd = listen(path)
    except KeyError:
        sys.exit("hearth_zygote: no socket: name one with --socket, or a listening one in HEARTH_ZYGOTE_FD")
    except (OSError, ValueError) as error:
        sys.exit(f"hearth_zygote: {error}")
    _load_modules(modules)
    try:
        argv, started = serve(fd, keep_fds)
    except OSError as error:
        sys.exit(f"hearth_zygote: {error.strerror}")
    run(argv, started)


if __name__ == "__main__":
    main(sys.argv[1:])
