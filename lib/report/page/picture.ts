import type { Frame, Picture, Spot } from '../data.js';
import { h, svg } from './dom.js';

/** Everything that is needed to draw a filter in a photograph. */
export interface Drawing {
  picture: Picture;
  spot: Spot;
  frame: Frame;
}

/**
 * A photograph with a filter's activation on it: bright where the strongest cell looks, fading to the
 * edge of its receptive field, and the line of half of the maximum.
 */
export function drawSpot({ picture, spot, frame }: Drawing): HTMLElement {
  const [height, width] = frame.field;
  const radius = (field: number, side: number): string => `${((50 * field) / side).toFixed(1)}%`;
  return h(
    'span',
    { class: 'drawing' },
    h('img', {
      attributes: { src: `data:image/webp;base64,${picture.webp}`, alt: '', draggable: 'false' },
    }),
    h('span', {
      class: 'spot',
      style: {
        '--x': `${String(spot.x / 10)}%`,
        '--y': `${String(spot.y / 10)}%`,
        '--rx': radius(width, frame.width),
        '--ry': radius(height, frame.height),
      },
    }),
    svg(
      'svg',
      { attributes: { viewBox: '0 0 1000 1000', 'aria-hidden': 'true' } },
      svg('path', { class: 'halo', attributes: { d: spot.contour } }),
      svg('path', { class: 'line', attributes: { d: spot.contour } }),
    ),
  );
}
