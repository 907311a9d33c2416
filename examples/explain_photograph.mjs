// Explains one photograph with a trained run, and writes what was found as a page and as JSON.
//   node examples/explain_photograph.mjs RUN IMAGE OUT.html OUT.json        (after npm run build)
import { writeFile } from 'node:fs/promises';
import { explanationJson, explanationPage, loadExplainer } from '../dist/index.js';

const [run, image, html, json] = process.argv.slice(2);
if (!json) throw new Error('usage: explain_photograph.mjs RUN IMAGE OUT.html OUT.json');

const explainer = await loadExplainer(run);
const explanation = await explainer.explain(image);
explainer.dispose();

const { prediction, rebuilt, parts, control, deletion, warnings } = explanation;
console.log(`the CNN says ${prediction.name}, from rebuilt features ${rebuilt.name}`);
for (const { filter, part, place, contribution } of parts.slice(0, 5)) {
  const where = `(${place.x.toFixed(0)}, ${place.y.toFixed(0)})`;
  console.log(`filter ${filter} ${part?.name ?? ''} at ${where} gives ${contribution.toFixed(3)}`);
}
console.log(`a filter at random gives ${control.random.toFixed(3)}`);
const { area } = deletion;
console.log(`deletion: area ${area.parts.toFixed(2)}, at random ${area.random.toFixed(2)}`);
for (const text of warnings) console.log(`warning: ${text}`);
await writeFile(html, await explanationPage(explanation, image));
await writeFile(json, JSON.stringify(explanationJson(explanation), null, 2));
