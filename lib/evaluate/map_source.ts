/** Maps of one kind, made of the performer's maps of some photographs. */
export interface MapSource {
  /** Its key in results, e.g. `energy`. */
  readonly name: string;
  readonly filters: number;
  /** (count, filters, n, m), row-major, from the performer's maps (count, C, n, m). */
  maps(features: Float32Array, count: number): Promise<Float32Array>;
}

/** A code from which the performer's maps can be rebuilt. */
export interface CodeSource extends MapSource {
  /** The performer's maps (count, C, n, m) as the code has them. */
  rebuild(features: Float32Array, count: number): Promise<Float32Array>;
}
