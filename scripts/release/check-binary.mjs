// What a platform's binary is, read with LLVM's tools, which know all formats: its architecture, what it needs from the
// system and from which version on, what it shows, and that no instruction is where no one asked for it.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run, workshop } from './workshop.mjs';

const entries = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];
const lines = (text) => text.split('\n').map((line) => line.trim());
const matches = (text, pattern) => Array.from(text.matchAll(pattern), (match) => match[1]);

/** Gives what is wrong with it, as sentences. */
export async function checkBinary(platform, file) {
  const formats = { linux: checkElf, darwin: checkMachO, win32: checkPe };
  const failures = [];
  const expect = (what, actual, holds) => {
    if (!holds(actual)) failures.push(`${platform.name}: ${what} ${JSON.stringify(actual)}`);
  };
  await formats[platform.os](platform, file, expect);
  await checkInstructions(platform, expect);
  return failures;
}

const within = (allowed) => (names) => names.length > 0 && names.every((name) => allowed.test(name));
const same = (expected) => (actual) => String(actual) === String(expected);
const none = same([]);

async function checkElf({ cpu, libc }, file, expect) {
  const headers = await run('llvm-readobj', ['--file-headers', '--needed-libs', '--sections', file]);
  expect('is for', matches(headers, /^Arch: (\w+)/gm), same(cpu === 'x64' ? 'x86_64' : 'aarch64'));
  const needed = matches(headers.slice(headers.indexOf('NeededLibraries')), /^ {2}(\S+)$/gm);
  const libraries = /^(lib(c|m|pthread|dl)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d)$/;
  expect('needs the libraries', needed, libc === 'glibc' ? within(libraries) : same('libc.so'));
  expect('has the sections', matches(headers, /Name: (\.symtab|\.debug\w*)/g), none);

  const defined = lines(await run('llvm-nm', ['-D', '-j', '--defined-only', file])).filter(Boolean);
  expect('shows', defined.sort(), same(entries));
  const undefinedNames = lines(await run('llvm-nm', ['-D', '-j', '--undefined-only', file])).filter(Boolean);
  expect(
    'asks Node or C++ for',
    undefinedNames.filter((name) => /^(uv_|node_|_Z|v8)/.test(name)),
    none,
  );
  const versions = matches(await run('llvm-readobj', ['--version-info', file]), /Name: GLIBC_([\d.]+)/g);
  const newest = Math.max(0, ...versions.map((version) => Number(version.split('.')[1])));
  expect('needs glibc 2.', newest, (minor) => (libc === 'glibc' ? minor > 0 && minor <= 28 : minor === 0));
}

async function checkMachO({ cpu }, file, expect) {
  const headers = await run('llvm-objdump', ['--macho', '--private-headers', file]);
  expect('is for', matches(headers, /^ *MH_MAGIC_64\s+(\w+)/gm), same(cpu === 'x64' ? 'X86_64' : 'ARM64'));
  expect('needs macOS', matches(headers, /minos (\S+)/g), same('12.0'));
  expect(
    'needs the libraries',
    matches(headers, /cmd LC_LOAD_DYLIB\n.*\n\s*name (\S+)/g),
    same('/usr/lib/libSystem.B.dylib'),
  );
  // An unsigned binary does not load on Apple's own processors.
  expect('is signed', /LC_CODE_SIGNATURE/.test(headers), (signed) => signed || cpu === 'x64');
  const defined = lines(await run('llvm-nm', ['-g', '-j', '--defined-only', file])).filter(Boolean);
  // Zig's linker has no list of what to show, so C++'s operators are there, weak, and the system's stand in for them.
  const operators = /^(__Z(na|nw|da|dl)\w*|___dso_handle|__mh_dylib_header)$/;
  const others = defined.filter((name) => !operators.test(name));
  expect('shows', others.sort(), same(entries.map((name) => `_${name}`)));
  const undefinedNames = lines(await run('llvm-nm', ['-j', '--undefined-only', file])).filter(Boolean);
  expect(
    'asks Node or C++ for',
    undefinedNames.filter((name) => /^_(uv_|node_|_Z|v8)/.test(name)),
    none,
  );
}

async function checkPe({ cpu }, file, expect) {
  const headers = await run('llvm-readobj', ['--file-headers', '--coff-imports', '--coff-exports', file]);
  expect('is for', matches(headers, /^Arch: (\w+)/gm), same(cpu === 'x64' ? 'x86_64' : 'aarch64'));
  expect(
    'needs Windows',
    Number(matches(headers, /MajorSubsystemVersion: (\d+)/g)[0]),
    (major) => major <= 10,
  );
  const imports = headers.split(/^Import \{/m).slice(1);
  const libraries = imports.map((text) => matches(text, /Name: (\S+)/g)[0]);
  const system = /^((kernel32|ntdll|advapi32|ws2_32)\.dll|api-ms-win-(crt|core)-[\w-]+\.dll)$/i;
  expect('needs the libraries', libraries, within(system));
  expect('shows', matches(headers, /Export \{[^}]*?Name: (\S+)/g).sort(), same(entries));
}

/** Instructions that may only be where an option of the compiler asked for them. */
const instructions = {
  x64: [
    { option: '-mavx2', pattern: /\tv[a-z]/ },
    { option: '-mavx512f', pattern: /%zmm|%[xy]mm(1[6-9]|[23]\d)|%k\d/ },
    { option: 'vnni', pattern: /\tvpdpbusd/ },
    { option: '-mamx-int8', pattern: /\ttdpb/ },
  ],
  arm64: [
    { option: '+dotprod', pattern: /\t[su]dot\t/ },
    { option: '+i8mm', pattern: /\t(us|s|u)mmla\t/ },
  ],
};

/** Reads what zig left in the build's folder: the binary itself no longer says which function is which. */
async function checkInstructions({ name, cpu }, expect) {
  const folder = join(workshop, name);
  const archives = readdirSync(folder).filter((file) => /^lib(kernels_\w+|engine)\.a$/.test(file));
  const commands = JSON.parse(readFileSync(join(folder, 'compile_commands.json'), 'utf8'));
  expect('has archives', archives, (files) => files.length > 3);
  for (const archive of archives) {
    const source = `/${archive.replace(/^libkernels_|\.a$/g, '')}.cc`;
    const command = commands.find(({ file }) => file.endsWith(source))?.command ?? '';
    const text = await run('llvm-objdump', ['-d', '--no-show-raw-insn', archive], { cwd: folder });
    for (const { option, pattern } of instructions[cpu]) {
      if (!command.includes(option)) expect(`${archive} has`, pattern.exec(text)?.[0] ?? '', same(''));
    }
  }
}
