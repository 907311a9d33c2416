// What the programs and libraries of a bundle ask of the system that runs them.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from './toolchain.mjs';

/** The newest glibc that may be asked for. */
export const GLIBC = [2, 34];
// Of glibc, of GCC's runtime, which every server has, and of the bundle itself.
const SYSTEM = /^(ld-linux-x86-64|lib(c|m|dl|pthread|rt|resolv|stdc\+\+|gcc_s|vips-cpp))\.so\./;

function isElf(path) {
  const file = openSync(path, 'r');
  const start = Buffer.alloc(4);
  readSync(file, start);
  closeSync(file);
  return start.toString('latin1') === '\x7fELF';
}

/** The newest version of glibc that a library asks for; `cross`: prefix of the tools of its architecture. */
export function glibcOf(path, cross = '') {
  const header = execFileSync(`${cross}objdump`, ['-p', path], { encoding: 'utf8' });
  const found = [...header.matchAll(/ GLIBC_(\d+)\.(\d+)/g)].map((match) =>
    match.slice(1).map(Number),
  );
  return (found.sort((a, b) => b[0] - a[0] || b[1] - a[1])[0] ?? []).join('.');
}

/** What is too new or not allowed in the header of a program or library. */
function faultsOf(path) {
  const header = execFileSync('objdump', ['-p', path], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  const libraries = [...header.matchAll(/^ +NEEDED +(\S+)$/gm)].map(([, library]) => library);
  const versions = [...new Set([...header.matchAll(/ GLIBC_(\d+)\.(\d+)/g)].map(([text]) => text))];
  const tooNew = versions.filter((text) => {
    const [major, minor] = text.slice(' GLIBC_'.length).split('.').map(Number);
    return major > GLIBC[0] || (major === GLIBC[0] && minor > GLIBC[1]);
  });
  return [...libraries.filter((library) => !SYSTEM.test(library)), ...tooNew];
}

/** Ends the process where a file of the folder needs a newer glibc or a library that may be missing. */
export function checkElf(folder) {
  const wrong = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter(isElf)
    .map((path) => [path, faultsOf(path)])
    .filter(([, faults]) => faults.length > 0);
  if (wrong.length === 0) return;
  const lines = wrong.map(([path, faults]) => `  ${path}: ${faults.join(' ')}`);
  fail(`these need more than glibc ${GLIBC.join('.')} and libstdc++:\n${lines.join('\n')}`);
}
