// ESLint rule `rooms`: inside lib/, imports point up this list only (ARCHITECTURE.md). What stands on one line
// does not know its neighbours.
import { dirname, relative, resolve } from 'node:path';

const ROOMS = [
  ['errors.ts', 'random.ts', 'pace.ts', 'version.ts'],
  ['engine'],
  ['data'],
  ['performer'],
  ['explainer'],
  ['evaluate'],
  ['explain', 'export', 'report'],
  ['explainer.ts'],
  ['demo'],
  ['cli'],
  ['index.ts'],
];

/** The room of a file of lib/, and its line of the list. */
function roomOf(path) {
  const [room] = path.split('/');
  return { room, line: ROOMS.findIndex((rooms) => rooms.includes(room)) };
}

export const rooms = {
  meta: {
    type: 'problem',
    schema: [],
    messages: {
      down: '{{from}} may not import {{to}}: imports point up the list of rooms in ARCHITECTURE.md.',
      unknown: '{{to}} lies in no room that ARCHITECTURE.md lists.',
    },
  },
  create(context) {
    const lib = resolve(context.cwd, 'lib');
    const file = relative(lib, context.filename);
    if (file.startsWith('..')) return {};
    const from = roomOf(file);
    const check = (node) => {
      const specifier = node.source?.value;
      if (typeof specifier !== 'string' || !specifier.startsWith('.')) return;
      const target = relative(lib, resolve(dirname(context.filename), specifier));
      if (target.startsWith('..')) return;
      const to = roomOf(target.replace(/\.js$/, '.ts'));
      const data = { from: file, to: target };
      if (to.line < 0 || from.line < 0) context.report({ node, messageId: 'unknown', data });
      else if (to.room === from.room) return;
      else if (to.line > from.line || (to.line === from.line && to.line > 0))
        context.report({ node, messageId: 'down', data });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    };
  },
};
