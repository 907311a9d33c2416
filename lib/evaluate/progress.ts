/** Tells how far a whole is that consists of several passes, each with a share of it that is known before. */
export function passes(
  onProgress: ((done: number, total: number) => void) | undefined,
  total: number,
): (share: number) => (done: number, of: number) => void {
  let [start, reached] = [0, 0];
  return (share) => {
    const from = start;
    start = Math.min(1, start + share);
    return (done, of) => {
      // A pass may be several: what was told is never taken back.
      reached = Math.max(reached, Math.min(1, from + share * (done / of)));
      onProgress?.(Math.round(total * reached), total);
    };
  };
}
