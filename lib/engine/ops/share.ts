import { expected } from '../../errors.js';

/** How filters compete for a place: e / (sum of e + tau^power), e = max(base, 1e-6)^power. */
export interface ShareOptions {
  /** Where the rest is: a filter of this base gets half of a place that it has alone. Default 0.2. */
  tau?: number;
  /** How much the strongest gains, >= 1, default 4. */
  power?: number;
}

/** Their defaults, checked. */
export function shareAttrs(
  op: string,
  { tau = 0.2, power = 4 }: ShareOptions,
): { tau: number; power: number } {
  if (!(power >= 1 && power < Infinity)) throw expected('a number >= 1', 'power', power, { op });
  const rest = Math.fround(Math.fround(tau) ** Math.fround(power));
  if (!(tau > 0 && rest > 0 && rest < Infinity)) {
    throw expected('a number > 0 whose power float32 can hold', 'tau', tau, { op });
  }
  return { tau, power };
}
