"""The first program of a sandbox: gives up what it doesn't need, then lets a program run in the same interpreter.

    python -P -s -S -B confine.py namespaces '{"memory_mb": 512, ...}' inside.py tests

It runs as a script of its own, with the standard library only, before any code that isn't ours: first Linux
namespaces (where asked for): a file system that holds Python's library and nothing else, no network, no other
process; then limits on memory, time, files and processes; last a filter of system calls, after which the process can
compute, read files and write to what is open, and can't open a file for writing, start a process, send a signal or
connect. Each of the three does without the others. It says `ready` on standard output, or `fault` and what failed.
Left out: what is asked of it from outside (`sandbox.py`), and what runs then (`inside.py`).
"""

import ctypes
import importlib.util
import json
import os
import platform
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)


def checked(name: str, *arguments: Any) -> None:
    """A call of the C library; OSError with its error where it fails."""
    plain = [ctypes.c_ulong(part) if isinstance(part, int) else part for part in arguments]
    if LIBC[name](*plain) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


# Namespaces

NEW_MOUNTS, NEW_NAMES, NEW_IPC, NEW_USERS, NEW_PIDS, NEW_NETWORK = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
APART = NEW_MOUNTS | NEW_NAMES | NEW_IPC | NEW_PIDS | NEW_NETWORK
READ_ONLY, NO_SUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
DETACH = 2
NEW_ROOT = b"/proc"  # a folder that is everywhere, and whose old contents nobody in the sandbox needs
DEATH_SIGNAL, NO_NEW_PRIVILEGES, SET_FILTER = 1, 38, 22


def enter_namespaces() -> None:
    """Go on as the first process of new namespaces; the process that called stays outside and waits for it."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        checked("unshare", APART)
    except PermissionError:
        # Without privileges a namespace of users comes with the others. In it we are root, of nothing outside.
        checked("unshare", APART | NEW_USERS)
        write_to("/proc/self/setgroups", "deny")
        write_to("/proc/self/uid_map", f"0 {uid} 1")
        write_to("/proc/self/gid_map", f"0 {gid} 1")
    parent = os.getpid()
    child = os.fork()
    if child:
        wait_for(child)
    checked("prctl", DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    make_root()
    if uid == 0:
        become_nobody(parent)


def write_to(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def wait_for(child: int) -> None:
    """Stay until the child ends, and end as it did. Who ends this process ends the child, and all of its namespace."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    checked("prctl", DEATH_SIGNAL, int(signal.SIGTERM), 0, 0, 0)
    os.close(0)
    os.close(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def make_root() -> None:
    """A root folder in memory with the system's libraries and Python's own in it, all of it read-only."""
    checked("mount", None, b"/", None, RECURSIVE | PRIVATE, None)
    library = os.path.realpath(os.path.dirname(os.__file__))
    sources = ["/usr", "/lib", "/lib64", os.path.dirname(library)]
    checked("mount", b"none", NEW_ROOT, b"tmpfs", NO_SUID | NO_DEVICES, b"size=1m,mode=755")
    for source in sources:
        place = os.fsdecode(NEW_ROOT) + source
        if os.path.islink(source):
            os.symlink(os.readlink(source), place)
        elif os.path.isdir(source) and not os.path.isdir(place):
            os.makedirs(place)
            checked("mount", source.encode(), place.encode(), None, BIND | RECURSIVE, None)
            flags = REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES
            checked("mount", None, place.encode(), None, flags, None)
    os.chdir(NEW_ROOT)
    checked("pivot_root", b".", b".")
    checked("umount2", b".", DETACH)
    checked("mount", None, b"/", None, REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES, None)
    os.chdir("/")


def become_nobody(process: int) -> None:
    """Be a user that nobody else is: for root no limit on processes counts."""
    user = 60_000 + process % 5_000
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def lose_root(filtered: bool) -> None:
    """Without walls, root must not stay root, unless Python is where only root can read it."""
    library = os.path.realpath(os.path.dirname(os.__file__))
    if os.stat(library).st_mode & 4 and all(os.stat(above).st_mode & 1 for above in parents(library)):
        become_nobody(os.getpid())
    elif not filtered:
        raise PermissionError("nothing would stop root's processes: run as another user")


def parents(path: str) -> list[str]:
    return [path] if path == "/" else [path, *parents(os.path.dirname(path))]


# Limits


def set_limits(limits: Mapping[str, int]) -> None:
    seconds = limits["seconds"]
    for name, value in {
        "RLIMIT_CPU": seconds,
        "RLIMIT_AS": limits["memory_mb"] << 20,
        "RLIMIT_FSIZE": 1 << 16,
        "RLIMIT_NOFILE": 64,
        "RLIMIT_NPROC": limits["processes"],
        "RLIMIT_CORE": 0,
    }.items():
        which = getattr(resource, name, None)
        if which is not None:
            hard = resource.getrlimit(which)[1]
            least = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(which, (least, least))


# The filter of system calls, for x86-64

PLAIN_CALLS = {
    "read": 0, "write": 1, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8, "mmap": 9,
    "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "pread64": 17, "readv": 19, "writev": 20, "access": 21, "select": 23, "sched_yield": 24, "mremap": 25,
    "madvise": 28, "dup": 32, "dup2": 33, "nanosleep": 35, "getpid": 39, "exit": 60, "uname": 63, "getcwd": 79,
    "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100, "getuid": 102,
    "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "sigaltstack": 131, "gettid": 186, "time": 201,
    "futex": 202, "sched_getaffinity": 204, "getdents64": 217, "restart_syscall": 219, "clock_gettime": 228,
    "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "newfstatat": 262, "readlinkat": 267,
    "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "getrandom": 318, "membarrier": 324,
    "statx": 332, "rseq": 334, "faccessat2": 439,
}  # fmt: skip
OPEN, OPENAT, CLONE, CLONE3, FCNTL, IOCTL = 2, 257, 56, 435, 72, 16
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | 0x400000  # the last makes a nameless file
THREAD = 0x10000
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 1030)  # duplicate, and read and set flags: none of which can signal another process
IOCTL_COMMANDS = (0x5401, 0x5450, 0x5451)  # is it a terminal; close it on exec or not
X86_64 = 0xC000003E

LOAD, EQUAL, AT_LEAST, ANY_BIT, ANSWER = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE, UNKNOWN_CALL, END = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
NUMBER, MACHINE, FIRST_ARGUMENT = 0, 4, 16

Instruction = tuple[int, int, int, int]


def argument(place: int) -> Instruction:
    return (LOAD, 0, 0, FIRST_ARGUMENT + 8 * place)


def filter_program() -> list[Instruction]:
    """What the kernel runs at each system call: allow the plain ones, look at the arguments of some, refuse the rest.

    In an instruction (code, jump if true, jump if not, value) a jump counts the instructions that are left out.
    """
    program: list[Instruction] = [
        (LOAD, 0, 0, MACHINE),
        (EQUAL, 1, 0, X86_64),
        (ANSWER, 0, 0, END),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, 0x40000000),  # the other numbering of the same calls
        (ANSWER, 0, 0, END),
    ]
    for number in PLAIN_CALLS.values():
        program += [(EQUAL, 0, 1, number), (ANSWER, 0, 0, ALLOW)]
    allow_or_refuse: list[Instruction] = [(ANSWER, 0, 0, ALLOW), (ANSWER, 0, 0, REFUSE)]
    for number, flags in ((OPENAT, 2), (OPEN, 1)):
        program += [(EQUAL, 0, 4, number), argument(flags), (ANY_BIT, 1, 0, WRITING), *allow_or_refuse]
    program += [(EQUAL, 0, 4, CLONE), argument(0), (ANY_BIT, 0, 1, THREAD), *allow_or_refuse]
    program += [(EQUAL, 0, 1, CLONE3), (ANSWER, 0, 0, UNKNOWN_CALL)]  # its flags can't be seen; C libraries use clone
    for number, commands in ((FCNTL, FCNTL_COMMANDS), (IOCTL, IOCTL_COMMANDS)):
        choices = [(EQUAL, len(commands) - place - 1 + 1, 0, command) for place, command in enumerate(commands)]
        program += [(EQUAL, 0, len(commands) + 3, number), argument(1), *choices]
        program += [(ANSWER, 0, 0, REFUSE), (ANSWER, 0, 0, ALLOW)]
    return [*program, (ANSWER, 0, 0, REFUSE)]


class _Capabilities(ctypes.Structure):
    _fields_ = (("sets", ctypes.c_uint32 * 6),)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def give_up_rights() -> None:
    """No capability is left, and none comes back."""
    checked("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    version = (ctypes.c_uint32 * 2)(0x20080522, 0)
    checked("capset", ctypes.byref(version), ctypes.byref(_Capabilities()))


def filter_calls() -> None:
    code = b"".join(
        kind.to_bytes(2, "little") + bytes((true, false)) + value.to_bytes(4, "little")
        for kind, true, false, value in filter_program()
    )
    kept = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(kept, ctypes.c_void_p))
    checked("prctl", SET_FILTER, 2, ctypes.byref(program), 0, 0)


def can_filter() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


def loaded(path: str) -> Any:
    """A program as a module. It is read before the sandbox closes, since its file isn't in there."""
    spec = importlib.util.spec_from_file_location("inside", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(kind: str, limits: Mapping[str, int], path: str, program: str) -> None:
    try:
        start: Callable[[str], None] = loaded(path).start
        filtered = bool(limits["filter"]) and can_filter()
        if kind == "namespaces":
            enter_namespaces()
        elif os.getuid() == 0:
            lose_root(filtered)
        set_limits(limits)
        if sys.platform == "linux":
            # After the change of users, which clears it: whoever started us is not outlived.
            checked("prctl", DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
            give_up_rights()
        if filtered:
            filter_calls()
    except Exception as error:
        os.write(1, f"fault {type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os.write(1, b"ready\n")
    start(program)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4])
