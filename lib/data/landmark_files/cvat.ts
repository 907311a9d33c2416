import { badLandmark, withOneCategory, type LandmarkRow, type LandmarkRows } from './row.js';
import { parseXml, type XmlElement } from './xml.js';

/**
 * "CVAT for images" XML (version 1.1): `<points label points="x,y">` is a landmark, within a `<skeleton label>`
 * of the category that the skeleton's label names; `outside="1"` is a part that is not there, hidden
 * (`occluded`) ones are taken. CVAT counts from the corner of the top left pixel, whose centre is (0.5, 0.5).
 */
export function parseCvatLandmarks(text: string, path: string): LandmarkRows {
  const root = parseXml(text, path);
  if (root.name !== 'annotations') {
    throw badLandmark(path, root.line, 'Expected <annotations> of CVAT for images', root.name);
  }
  const rows: LandmarkRow[] = [];
  let unmarked = 0;
  const take = (points: XmlElement, image: string, category: string): void => {
    if (points.attributes['outside'] === '1') unmarked++;
    else rows.push(...landmarks(points, { image, category, path }));
  };
  for (const image of root.children.filter(({ name }) => name === 'image')) {
    const file = attribute(image, 'name', path);
    for (const child of image.children) {
      if (child.name === 'points') take(child, file, '');
      if (child.name !== 'skeleton') continue;
      const category = attribute(child, 'label', path);
      for (const point of child.children) {
        if (point.name === 'points') take(point, file, category);
      }
    }
  }
  if (root.children.some(({ name }) => name === 'track')) {
    const what = 'Expected the export "CVAT for images"';
    throw badLandmark(path, root.line, what, '<track>, that of films');
  }
  return { rows: withOneCategory(rows), unmarked };
}

function landmarks(
  points: XmlElement,
  known: { image: string; category: string; path: string },
): LandmarkRow[] {
  const { path, image, category } = known;
  const part = attribute(points, 'label', path);
  const places = attribute(points, 'points', path).split(';');
  return places.map((place) => {
    const [x = NaN, y = NaN, ...more] = place.split(',').map((text) => Number(text.trim() || NaN));
    if (!Number.isFinite(x) || !Number.isFinite(y) || more.length > 0) {
      throw badLandmark(path, points.line, 'Expected points "x,y"', JSON.stringify(place));
    }
    return { at: points.line, image, category, part, y: y - 0.5, x: x - 0.5 };
  });
}

function attribute({ name, attributes, line }: XmlElement, wanted: string, path: string): string {
  const value = attributes[wanted];
  if (value !== undefined && value !== '') return value;
  throw badLandmark(path, line, `Expected an attribute ${wanted} of <${name}>`, 'none');
}
