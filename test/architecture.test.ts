import { expect } from 'chai';
import { Linter, type Rule } from 'eslint';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const { rooms } = (await import(path.join(root, 'scripts/eslint_rooms.mjs'))) as {
  rooms: Rule.RuleModule;
};

/** What each file of lib/ imports from lib/, types included. */
function imports(): Map<string, string[]> {
  const lib = path.join(root, 'lib');
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  return new Map(
    files.map((file) => {
      const text = readFileSync(path.join(lib, file), 'utf8');
      const found = [...text.matchAll(/(?:from|import\() ?'(\.[^']+)\.js'/g)];
      const targets = found.map(([, target = '']) => path.join(path.dirname(file), `${target}.ts`));
      return [file, targets];
    }),
  );
}

/** A circle of imports, or undefined. */
function circle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): string[] | undefined => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const next of graph.get(file) ?? []) {
      const found = visit(next, [...way, file]);
      if (found) return found;
    }
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const found = visit(file, []);
    if (found) return found;
  }
  return undefined;
}

describe('architecture', () => {
  it('no files of lib/ import each other in a circle, types included', () => {
    expect(circle(imports())).to.equal(undefined);
    expect(circle(new Map(Object.entries({ a: ['b'], b: ['c'], c: ['b'] })))).to.eql([
      'b',
      'c',
      'b',
    ]);
  });

  describe('lint rule: imports point up the list of rooms', () => {
    const check = (file: string, source: string): string[] =>
      new Linter({ cwd: root })
        .verify(
          `import { x } from '${source}';`,
          [
            {
              files: ['**/*.ts'],
              plugins: { our: { rules: { rooms } } },
              rules: { 'our/rooms': 2 },
            },
          ],
          path.join(root, 'lib', file),
        )
        .map(({ message }) => message);

    it('lets a file import from its room and from rooms above', () => {
      expect(check('engine/plan.ts', './graph.js')).to.eql([]);
      expect(check('evaluate/evaluate.ts', '../explainer/trained.js')).to.eql([]);
      expect(check('explainer.ts', './explain/explain.js')).to.eql([]);
      expect(check('index.ts', './cli/main.js')).to.eql([]);
    });

    it('refuses rooms below, neighbours, and rooms that nobody knows', () => {
      expect(check('engine/plan.ts', '../data/csv.js')[0]).to.match(/plan.ts may not import data/);
      expect(check('explainer/train.ts', '../explainer.js')[0]).to.match(/may not import/);
      expect(check('report/report.ts', '../explain/page.js')[0]).to.match(/may not import/);
      expect(check('data/csv.ts', '../utils/helpers.js')[0]).to.match(/lies in no room/);
    });
  });
});
