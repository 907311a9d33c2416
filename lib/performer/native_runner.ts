import type { Graph } from '../engine/graph.js';
import { createSession, deviceOptions, type DeviceOptions } from '../engine/session.js';
import type { NetworkParts } from './parts.js';
import type { Runner } from './runtime/index.js';

/** Programs of a network compiled, their weights in the session's memory. Throws what a session throws. */
export async function nativeRunner(
  parts: NetworkParts,
  programs: Record<string, Graph>,
  options: DeviceOptions,
): Promise<Runner> {
  const session = await createSession({ programs, ...deviceOptions(options) });
  try {
    await session.write(parts.weights);
  } catch (error) {
    session.dispose();
    throw error;
  }
  return session;
}
