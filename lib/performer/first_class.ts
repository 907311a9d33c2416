/** Index of the largest output, of equals the first. */
export function firstClass(outputs: Float32Array): number {
  let best = 0;
  for (let k = 1; k < outputs.length; k++) {
    if ((outputs[k] ?? 0) > (outputs[best] ?? 0)) best = k;
  }
  return best;
}
