import { basename, relative } from 'node:path';
import type { TrainedExplainer } from '../explainer/trained.js';
import { VERSION } from '../version.js';
import type { ReportData } from './data.js';

/** Everything that the run depends on, for people; `folder` is that of the report. */
export function configurationOf(
  { config, performer, run, step }: TrainedExplainer,
  folder: string,
): ReportData['configuration'] {
  const { images, network, options, batch, steps } = config;
  const { input, layer, site, bypass, output, preprocessing } = performer;
  const { train, validation } = images;
  const rebuilt: [string, string][] = network.site
    ? [
        ['rebuilt maps', `${site.name}: ${sizes(site.channels, site.height, site.width)}`],
        ['taken as they are', bypass.map(({ name }) => name).join(', ') || 'nothing'],
      ]
    : [];
  return [
    {
      group: 'versions and files',
      entries: [
        ['trained with', `partlens ${config.partlens}`],
        ['report made with', `partlens ${VERSION}`],
        ['run folder', here(folder, run)],
        ['run fingerprint', config.fingerprint],
        ['performer', here(folder, performer.path)],
        ['performer sha256', performer.fingerprint],
        ['photographs', here(folder, images.folder)],
        ['classes', images.classes?.join(', ') ?? 'all'],
        ['split', `${String(train.length)} train, ${String(validation.length)} validation`],
      ],
    },
    {
      group: 'network',
      entries: [
        ['layer', `${layer.name}: ${sizes(layer.channels, layer.height, layer.width)}`],
        [
          'targets',
          network.targets.map(({ name, size }) => `${name} (${String(size)})`).join(', '),
        ],
        ...rebuilt,
        ['output', `${output.name} (${String(output.size)})`],
        ['filters', String(network.filters)],
        ['receptive field', `${sizes(...layer.geometry.size)} pixels`],
        ['network input', `${sizes(input.height, input.width)} pixels`],
        ['steps', `${String(step)} of ${String(steps)}, ${String(batch)} images each`],
      ],
    },
    {
      group: 'options',
      entries: Object.entries(options).map(([name, value]) => [name, JSON.stringify(value)]),
    },
    {
      group: 'preprocessing',
      entries: Object.entries(preprocessing).map(([name, value]) => [name, JSON.stringify(value)]),
    },
  ];
}

/** A path as seen from a folder, with `/`; without folders where it lies on another drive. */
function here(folder: string, path: string): string {
  const way = relative(folder, path).replaceAll('\\', '/');
  return /^[a-z]:|^\//i.test(way) ? basename(path) : way || '.';
}

function sizes(...values: readonly number[]): string {
  return values.map(String).join(' x ');
}
