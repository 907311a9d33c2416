/** The channels that a network's input can have, in their order; `grey` is Rec. 601 luma. */
export const CHANNELS = ['RGB', 'BGR', 'grey', 'RGBA'] as const;

export type Channels = (typeof CHANNELS)[number];

/** How many numbers a pixel has. */
export function channelCount(channels: Channels): 1 | 3 | 4 {
  return channels === 'grey' ? 1 : channels === 'RGBA' ? 4 : 3;
}
