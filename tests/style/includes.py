#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 the seqkv authors
"""Every file can be compiled alone: it reaches, by includes, what declares the names it uses.

Sources are compiled several at a time (unity builds), which hides an include that is missing. Here a name of the
project must be declared by the file or by a header of the project that it reaches; a name of a library must have its
header included by the file or by such a header, and not by luck inside another library's header. Names are found by
their look: what clang-format leaves in the first column belongs to a namespace. Prints what is missing and exits with 1
if anything is.
"""

import functools
import re
import sys

from include_graph import INCLUDE, ROOT

FOLDERS = ("include", "src", "mpi", "backends", "python", "tests", "bench")

# Names of namespace std by the headers that declare them; any one will do.
STANDARD = {
    "algorithm": "min max copy count equal move_backward swap_ranges replace search all_of any_of none_of find_if "
                 "find_if_not copy_n fill fill_n sort stable_sort lower_bound upper_bound equal_range binary_search max_element min_element minmax_element reverse rotate clamp nth_element partition "
                 "partial_sort unique remove_if count_if push_heap pop_heap make_heap includes set_intersection generate",
    "array": "array to_array",
    "atomic": "atomic atomic_ref atomic_flag",
    "bit": "bit_cast bit_ceil bit_floor bit_width countl_zero countr_zero countr_one popcount has_single_bit endian",
    "charconv": "from_chars to_chars",
    "chrono": "chrono",
    "cmath": "sqrt exp exp2 log log2 log1p expm1 pow abs fabs floor ceil round lround llround nearbyint isnan isinf isfinite fma "
             "ldexp frexp cos sin tanh erf hypot signbit copysign nextafter trunc rint",
    "csignal": "signal raise sig_atomic_t",
    "cstdio": "fputs fputc fflush fprintf snprintf printf fwrite rename remove",
    "cstdlib": "getenv exit abort system strtoll strtoull strtod atexit",
    "cstring": "memcpy memcmp memset memmove strlen strcmp strerror strncmp memchr",
    "ctime": "time_t time localtime gmtime tm strftime",
    "concepts": "same_as convertible_to derived_from invocable integral unsigned_integral signed_integral floating_point",
    "condition_variable": "condition_variable condition_variable_any",
    "deque": "deque",
    "exception": "exception_ptr current_exception rethrow_exception uncaught_exceptions",
    "filesystem": "filesystem",
    "fstream": "ifstream ofstream fstream",
    "functional": "function less greater plus minus multiplies bit_or bit_xor invoke reference_wrapper",
    "future": "future promise async",
    "iostream": "cout cerr",
    "limits": "numeric_limits",
    "list": "list",
    "map": "map multimap",
    "memory": "unique_ptr shared_ptr weak_ptr make_unique make_shared enable_shared_from_this",
    "mutex": "mutex lock_guard unique_lock scoped_lock once_flag call_once recursive_mutex",
    "numeric": "accumulate iota gcd lcm partial_sum inclusive_scan exclusive_scan midpoint reduce transform_reduce",
    "optional": "optional nullopt make_optional",
    "queue": "queue priority_queue",
    "random": "mt19937 mt19937_64 uniform_int_distribution uniform_real_distribution normal_distribution",
    "regex": "regex",
    "set": "set multiset",
    "shared_mutex": "shared_mutex shared_lock",
    "span": "span dynamic_extent as_bytes as_writable_bytes",
    "sstream": "ostringstream istringstream stringstream",
    "stop_token": "stop_token stop_source",
    "string": "string to_string stoi stoll stoull getline",
    "string_view": "string_view",
    "system_error": "error_code system_error errc generic_category",
    "thread": "thread jthread this_thread",
    "tuple": "tuple tie make_tuple apply tuple_size_v",
    "type_traits": "is_same_v is_trivially_copyable_v is_integral_v is_floating_point_v is_unsigned_v is_signed_v conditional_t "
                   "enable_if_t remove_cvref_t remove_const_t remove_reference_t decay_t invoke_result_t make_unsigned_t "
                   "is_void_v is_const_v underlying_type_t is_invocable_v",
    "unordered_map": "unordered_map unordered_multimap",
    "unordered_set": "unordered_set",
    "utility": "exchange pair make_pair in_range cmp_less cmp_greater index_sequence make_index_sequence as_const",
    "variant": "variant visit holds_alternative get_if monostate variant_size_v variant_alternative_t",
    "vector": "vector",
}
# Headers that bring what another one declares: their own interfaces are made of it.
WITH = {
    "string_view": {"string"},
    "utility": {"map", "unordered_map", "tuple", "variant", "optional"},
    "stop_token": {"thread"},
    "iostream": {"ostream"},
    "system_error": {"filesystem"},
    "exception": {"stdexcept"},
    "mutex": {"condition_variable"},
}
HEADERS_OF = {}
for standard_header, names in STANDARD.items():
    for standard_name in names.split():
        HEADERS_OF.setdefault(standard_name, set()).update({standard_header} | WITH.get(standard_header, set()))
LIBRARIES = {"Kokkos": "Kokkos_", "fmt": "fmt/", "nlohmann": "nlohmann/", "CLI": "CLI/", "tbb": "oneapi/tbb", "nb": "nanobind/"}

# Comments, strings and characters; the names of tests.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
TEST = re.compile(r"^(?:TYPED_)?TEST(?:_[FPS]\w*)?\([^)]*\)|^INSTANTIATE\w+\([^;]*;", re.MULTILINE)
# What a namespace declares ...
KIND = "struct|class|union|enum class|enum|concept|using"
ATTRIBUTE = r"(?:\[\[\w+\]\] )?"
TYPE = re.compile(rf"^(?:{KIND}) {ATTRIBUTE}([A-Z]\w+)\b(?!\s*;)", re.MULTILINE)
FUNCTION = re.compile(r"^(?!using|namespace|return|#|struct|class|enum)[\w\[][^\n;={}()]*?[ &*>]([a-z]\w+)\(", re.MULTILINE)
MACRO = re.compile(r"#\s*define (SEQKV_\w+)")
# ... and what classes, templates and macros do, which may have the same names.
INNER_TYPE = re.compile(rf"\b(?:{KIND}|typename|auto|int|bool|[A-Z]\w+) {ATTRIBUTE}([A-Z]\w+)\b(?! [a-z])")
MACRO_ARGUMENTS = re.compile(r"#\s*define \w+\(([^)]*)\)")
# Uses: not members, nor names of other namespaces.
TOKEN = re.compile(r"(?:(?<![\w.:>])|(?<=seqkv::)|(?<=<)|(?<=\?|,))[A-Za-z_]\w+")
STANDARD_USE = re.compile(r"\bstd::(?:ranges::)?(\w+)")


def calls(name, code):
    return re.search(rf"(?<![\w.:>]){name}\(|\bseqkv::(?:\w+::)*{name}\(", code)


def declares(name, code):
    """Whether a function, a member or a variable has this name here."""
    function = rf"(?<!\breturn)(?<!\belse)(?<!\bthrow)(?<=[\w>&*]) {name}\("
    return re.search(rf"{function}|\b(?:auto|const)[&*]* {name}\b|[\w>&*,] {name} ?[,;)=\]]", code)


class File:
    def __init__(self, path):
        self.name = path.relative_to(ROOT).as_posix()
        raw = path.read_text()
        self.includes = INCLUDE.findall(raw)
        self.code = TEST.sub("", NOISE.sub(lambda m: '""' if m.group().startswith(('"', "R")) else " ", raw))
        self.types = set(TYPE.findall(self.code))
        self.functions = set(FUNCTION.findall(self.code))
        self.macros = set(MACRO.findall(self.code))
        arguments = (re.split(r"[, ]+", each) for each in MACRO_ARGUMENTS.findall(self.code))
        self.inner_types = set(INNER_TYPE.findall(self.code)).union(*arguments)
        self.tokens = set(TOKEN.findall(self.code))


def read_tree():
    paths = (p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.[ch]pp")))
    return {file.name: file for file in map(File, paths)}


FILES = read_tree()


def resolve(include, file):
    """The file of the project that an include names, or None."""
    folder = file.rsplit("/", 1)[0]
    return next((c for c in (include, f"include/{include}", f"src/{include}", f"tests/{include}", f"bench/{include}",
                             f"python/{include}", f"{folder}/{include}") if c in FILES), None)


@functools.cache
def reach(name):
    """The files of the project that a file reaches, itself too, and the headers of others that they include."""
    files, foreign, todo = set(), set(), [name]
    while todo:
        file = todo.pop()
        if file in files:
            continue
        files.add(file)
        for include in FILES[file].includes:
            target = resolve(include, file)
            todo.append(target) if target else foreign.add(include)
    return files, foreign


def providers(kind):
    """Headers by the names that they declare; of a kind: types, functions or macros."""
    headers = {}
    for file in FILES.values():
        if file.name.endswith(".hpp"):
            for name in getattr(file, kind):
                headers.setdefault(name, set()).add(file.name)
    return headers


TYPES, FUNCTIONS, MACROS = map(providers, ("types", "functions", "macros"))


def missing(file):
    """What a file has no include for."""
    files, foreign = reach(file.name)
    reached = [FILES[name] for name in files]
    types = (file.tokens & TYPES.keys()).difference(*(each.inner_types for each in reached))
    functions = {name for name in file.tokens & FUNCTIONS.keys() - file.functions
                 if not files & FUNCTIONS[name] and calls(name, file.code)
                 and not any(declares(name, each.code) for each in reached)}
    macros = file.tokens & MACROS.keys() - file.macros
    for names, headers in ((types, TYPES), (functions, FUNCTIONS), (macros, MACROS)):
        yield from (f"{name}, of {' or '.join(sorted(headers[name]))}" for name in sorted(names) if not files & headers[name])
    for name in sorted(set(STANDARD_USE.findall(file.code)) & HEADERS_OF.keys()):
        if not foreign & HEADERS_OF[name]:
            yield f"std::{name}, of <{'> or <'.join(sorted(HEADERS_OF[name]))}>"
    for space, prefix in LIBRARIES.items():
        if re.search(rf"\b{space}::\w", file.code) and not any(include.startswith(prefix) for include in foreign):
            yield f"{space}::, of <{prefix}...>"


def main():
    bad = 0
    for file in FILES.values():
        for what in missing(file):
            print(f"{file.name}: no include for {what}")
            bad += 1
    print(f"{len(FILES)} files, {len(TYPES)} types and {len(FUNCTIONS)} functions of headers; {bad} includes missing")
    return 1 if bad or not TYPES else 0


if __name__ == "__main__":
    sys.exit(main())
