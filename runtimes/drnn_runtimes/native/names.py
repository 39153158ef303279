"""The name of a network in C, which all its functions, files and targets begin with."""

from __future__ import annotations

import re

from drnn_core.errors import InputError

_LONGEST = 40  # characters: C11 tells names apart by 63, and the kernel adds some
_NAME = re.compile(rf"[a-z][a-z0-9_]{{0,{_LONGEST - 1}}}")
_TAKEN = re.compile(  # by compilers, the C library and its headers (the common ones), or the package
    "asm|auto|bool|break|case|catch|char|class|const|continue|default|delete|do|double|else|enum|errno|explicit|export|"
    "extern|false|float|for|friend|goto|i386|if|inline|int|linux|long|main|mutable|namespace|new|nullptr|operator|"
    "private|protected|public|register|restrict|return|short|signed|sizeof|static|std|struct|switch|template|this|throw|"
    "alignas|alignof|and|and_eq|bitand|bitor|char16_t|char32_t|char8_t|compl|concept|consteval|constexpr|constinit|"
    "co_await|co_return|co_yield|decltype|noexcept|not|not_eq|or|or_eq|requires|thread_local|xor|xor_eq|"
    "abort|abs|accept|access|acos|alarm|asin|assert|atan|atoi|bind|bsearch|calloc|ceil|cfenv|chdir|clock|clone|close|"
    "complex|connect|cos|cosh|ctype|daemon|dup|environ|erf|exit|exp|fcntl|features|fenv|ffs|floor|fma|fork|free|"
    "gamma|gets|getenv|glob|index|inttypes|iso646|j0|j1|jn|kill|labs|ldexp|lgamma|libgen|limits|link|listen|locale|log|"
    "log10|log2|malloc|math|mktime|monetary|netdb|nice|open|pause|pipe|poll|pow|printf|pthread|putenv|"
    "puts|qsort|raise|rand|random|read|realloc|regex|remove|rename|rint|round|sched|search|select|semaphore|send|"
    "setjmp|shutdown|signal|sin|sinh|sleep|socket|spawn|sqrt|srand|srandom|stat|stdalign|stdarg|stdatomic|stdbool|"
    "stddef|stdint|stdio|stdlib|stdnoreturn|string|strings|swab|sync|syslog|system|tan|tanh|tar|termios|tgamma|tgmath|"
    "threads|time|times|trunc|truncate|uchar|ulimit|unistd|unlink|usleep|utime|utmpx|version|wait|wchar|"
    "wctype|wordexp|write|y0|y1|yn|alloca|byteswap|dirent|dlfcn|elf|endian|err|error|fnmatch|fts|ftw|getopt|grp|iconv|"
    "cbrt|div|fclose|fmod|fopen|frexp|fseek|getc|hypot|ldiv|lround|memcmp|memcpy|memmove|memory|memset|modf|nan|perror|"
    "putc|rewind|scanf|setbuf|snprintf|sprintf|strcmp|strcpy|strlen|strstr|strtod|strtol|tmpfile|toupper|ungetc|"
    "langinfo|mntent|mqueue|paths|pty|pwd|resolv|shadow|syscall|sysexits|ucontext|utmp|values|"
    "true|try|typedef|typename|union|unix|unsigned|using|virtual|void|volatile|while|"
    "all|clean|detail|drnn|drnn_cell|edit_cache|example|golden|help|install|native|package|readme|rebuild_cache|"
    "selftest|test"
)


def c_name(stem: str) -> str:
    """Make a name of a file's: "Pixel MNIST v2" becomes "pixel_mnist_v2".

    Args:
        stem: The name of a checkpoint's file without its ending.
    """
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")[:_LONGEST].rstrip("_")
    if not name or name[0].isdigit() or _TAKEN.fullmatch(name):
        name = f"network_{name}"[:_LONGEST].rstrip("_")
    return name


def check_c_name(name: str) -> str:
    """Take a name that someone chose as it is.

    Args:
        name: The name.

    Raises:
        InputError: It cannot be one.
    """
    if not _NAME.fullmatch(name) or _TAKEN.fullmatch(name) or "__" in name or name.endswith("_"):
        raise InputError(
            f"{name!r:.80} cannot name a network in C",
            f"Use up to {_LONGEST} letters a-z, digits and single _, a letter first: --native-name {c_name(name)}.",
        )
    return name
