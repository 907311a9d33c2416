// Lists the .cpp files of a folder for binding.gyp, relative to the project.
import { readdirSync } from 'node:fs';

const [folder = 'native'] = process.argv.slice(2);
for (const name of readdirSync(folder).sort()) {
  if (name.endsWith('.cpp')) console.log(`${folder}/${name}`);
}
