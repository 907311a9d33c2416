/** A share 0..1 in percent. */
export function percent(value: number): string {
  return `${(100 * value).toFixed(1)} %`;
}

/** A share that may be unknown. */
export function share(value: number): string {
  return Number.isFinite(value) ? percent(value) : 'unknown';
}

/** `+1.234`, with a true minus sign. */
export function signed(value: number): string {
  return `${value < 0 ? '\u2212' : '+'}${Math.abs(value).toFixed(3)}`;
}

/** A bar to the right of the middle line, or to the left of it for what is below 0; `most`: the longest. */
export function signedBar(value: number, most: number, colour: string): string {
  const width = ((50 * Math.abs(value)) / (most || 1)).toFixed(1);
  const side = value < 0 ? 'right' : 'left';
  return `<span class="signed"><i style="${side}:50%;width:${width}%;background:${colour}"></i></span>`;
}
