# For gcc and clang. One static library per instruction set, each with its own flags, so that no code compiled for
# one can reach another; the addon links those of its architecture and chooses at run time.
{
  "variables": {
    "warnings": ["-Wall", "-Wextra", "-Werror"],
    # gcc 12 sees uninitialized values inside its own intrinsics headers; clang does not know the second name.
    "isa_flags": [
      "<@(warnings)", "-Wno-unknown-warning-option", "-Wno-uninitialized", "-Wno-maybe-uninitialized",
      "-fno-asynchronous-unwind-tables",
    ],
    "avx2_flags": ["-mavx2", "-mfma", "-mf16c"],
    "avxvnni_flags": ["-mavx2", "-mfma", "-mf16c", "-mavxvnni"],
    # Tuned for such processors (gcc 12, Zen 4): INT8 layers of 8 units take 4 % less, the rest 0 to 1. With znver3
    # one INT8 row takes 4 % less, but four float rows 10 % more; avx2 gains nothing by either.
    "avx512vnni_flags": [
      "-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni",
      "-mtune=skylake-avx512"
    ],
    "avx512amx_flags": ["<@(avx512vnni_flags)", "-mamx-tile", "-mamx-int8"],
    "neon_dotprod_flags": ["-march=armv8.2-a+dotprod"],
    "neon_i8mm_flags": ["-march=armv8.2-a+dotprod+i8mm"],
    # What only tests build (scripts/build-variant.mjs).
    "variant%": "",
  },
  "target_defaults": {
    "include_dirs": ["native"],
    "cflags_cc": ["-std=c++17", "-fvisibility=hidden", "-ffp-contract=off"],
    "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
      "OTHER_CFLAGS": ["-ffp-contract=off"],
    },
  },
  "targets": [
    {
      "target_name": "kernels_scalar",
      "type": "static_library",
      "sources": ["native/kernels/scalar.cc"],
      # A quarter of the size, for processors that are older than AVX2.
      "cflags_cc": ["<@(isa_flags)", "-Os"],
      "xcode_settings": {"GCC_OPTIMIZATION_LEVEL": "s"},
      "conditions": [
        ["variant=='dialects'", {"defines": ["DYNAQUANT_DIALECTS"]}],
        # Watching each vector, which is an array on the stack here, takes three times as long.
        ["variant=='sanitized'", {"cflags_cc": ["--param", "asan-stack=0"]}],
      ],
    },
    {
      "target_name": "engine",
      "type": "static_library",
      "sources": [
        # Every file of the folder.
        "<!@(ls native/engine/*.cc)",
        "native/kernels/cpu_features.cc",
        "native/kernels/dispatch.cc",
        "native/kernels/panels.cc",
      ],
      "cflags_cc": ["<@(warnings)", "-fexceptions"],
      "cflags_cc!": ["-fno-exceptions"],
      "xcode_settings": {"GCC_ENABLE_CPP_EXCEPTIONS": "YES"},
      "conditions": [
        ["variant=='dialects'", {"defines": ["DYNAQUANT_DIALECTS"]}],
        ["variant=='avxvnni-evex'", {"defines": ["DYNAQUANT_AVXVNNI_EVEX"]}],
      ],
    },
    {
      # Bindings only. With -Os small calls take up to a tenth longer, with -O3 no less.
      "target_name": "addon",
      "sources": ["native/addon.cc", "<!@(ls native/bindings/*.cc)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "dependencies": ["engine", "kernels_scalar"],
      "defines": [
        "DYNAQUANT_VERSION=<!(node -p \"require('./package.json').version\")",
        "NAPI_VERSION=8",
        "NODE_ADDON_API_CPP_EXCEPTIONS_ALL",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        "NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED",
        # An error in a worker that is being terminated cannot be thrown; without this it aborts the process.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      "cflags_cc": ["<@(warnings)", "-fexceptions", "-O2"],
      "cflags_cc!": ["-fno-exceptions"],
      "xcode_settings": {"GCC_ENABLE_CPP_EXCEPTIONS": "YES", "GCC_OPTIMIZATION_LEVEL": "2"},
      "conditions": [
        ["target_arch=='x64'", {
          "dependencies": ["kernels_avx2", "kernels_avxvnni", "kernels_avx512vnni", "kernels_avx512amx"],
        }],
        ["target_arch=='arm64'", {
          "dependencies": ["kernels_neon", "kernels_neon_dotprod", "kernels_neon_i8mm"],
        }],
        ["OS=='linux'", {"ldflags": ["-Wl,-z,now", "-Wl,--gc-sections", "-Wl,--exclude-libs,ALL"]}],
      ],
    },
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["native/kernels/avx2.cc"],
          "cflags_cc": ["<@(isa_flags)", "<@(avx2_flags)"],
          "xcode_settings": {"OTHER_CFLAGS": ["<@(avx2_flags)"]},
        },
        {
          "target_name": "kernels_avxvnni",
          "type": "static_library",
          "sources": ["native/kernels/avxvnni.cc"],
          "cflags_cc": ["<@(isa_flags)", "<@(avxvnni_flags)"],
          "xcode_settings": {"OTHER_CFLAGS": ["<@(avxvnni_flags)"]},
          "conditions": [
            ["variant=='avxvnni-evex'", {
              "defines": ["DYNAQUANT_AVXVNNI_EVEX"],
              "cflags_cc": ["-mavx512f", "-mavx512vl", "-mavx512vnni"],
            }],
          ],
        },
        {
          "target_name": "kernels_avx512vnni",
          "type": "static_library",
          "sources": ["native/kernels/avx512vnni.cc"],
          "cflags_cc": ["<@(isa_flags)", "<@(avx512vnni_flags)"],
          "xcode_settings": {"OTHER_CFLAGS": ["<@(avx512vnni_flags)"]},
        },
        {
          "target_name": "kernels_avx512amx",
          "type": "static_library",
          "sources": ["native/kernels/avx512amx.cc"],
          "cflags_cc": ["<@(isa_flags)", "<@(avx512amx_flags)"],
          "xcode_settings": {"OTHER_CFLAGS": ["<@(avx512amx_flags)"]},
        },
      ],
    }],
    ["target_arch=='arm64'", {
      "targets": [
        {
          "target_name": "kernels_neon",
          "type": "static_library",
          "sources": ["native/kernels/neon.cc"],
          "cflags_cc": ["<@(isa_flags)"],
        },
        {
          "target_name": "kernels_neon_dotprod",
          "type": "static_library",
          "sources": ["native/kernels/neon_dotprod.cc"],
          "cflags_cc": ["<@(isa_flags)", "<@(neon_dotprod_flags)"],
          "xcode_settings": {"OTHER_CFLAGS": ["<@(neon_dotprod_flags)"]},
        },
        {
          "target_name": "kernels_neon_i8mm",
          "type": "static_library",
          "sources": ["native/kernels/neon_i8mm.cc"],
          "cflags_cc": ["<@(isa_flags)", "<@(neon_i8mm_flags)"],
          "xcode_settings": {"OTHER_CFLAGS": ["<@(neon_i8mm_flags)"]},
        },
      ],
    }],
  ],
}
