/** Signals made on the spot, one pattern a danger, so that an ear tells them apart before the words come. */

/** One tone: when it begins and how long it lasts (s), its pitch and the pitch it glides to (Hz). */
export interface Tone {
  at: number
  lasts: number
  from: number
  to: number
}

export type Danger = 'fire' | 'gas' | 'help' | 'water' | 'other'

const even = (count: number, every: number, tone: Omit<Tone, 'at'>): Tone[] =>
  Array.from({ length: count }, (_, index) => ({ at: index * every, ...tone }))

/** Fire sweeps up, gas alternates two tones, a call for help knocks thrice and thrice, the water's edge falls. */
export const PATTERNS: Record<Danger, readonly Tone[]> = {
  fire: even(3, 0.75, { lasts: 0.65, from: 520, to: 1180 }),
  gas: [
    ...even(4, 0.5, { lasts: 0.22, from: 960, to: 960 }),
    ...even(4, 0.5, { lasts: 0.22, from: 720, to: 720 }).map((tone) => ({ ...tone, at: tone.at + 0.25 })),
  ],
  help: [0, 0.2, 0.4, 1, 1.2, 1.4].map((at) => ({ at, lasts: 0.14, from: 880, to: 880 })),
  water: even(2, 0.95, { lasts: 0.8, from: 990, to: 560 }),
  other: even(3, 0.45, { lasts: 0.28, from: 784, to: 784 }),
}

const BY_KIND: Record<string, Danger> = {
  smoke_detector: 'fire',
  gas_alarm: 'gas',
  gas_meter: 'gas',
  tunnel_sensor: 'gas',
  wristband: 'help',
  sos_button: 'help',
  door_magnet: 'help',
  perimeter_camera: 'water',
}

export function dangerOf(kind: string): Danger {
  return BY_KIND[kind] ?? 'other'
}

export function lengthOf(danger: Danger): number {
  return Math.max(...PATTERNS[danger].map((tone) => tone.at + tone.lasts))
}

/** Schedules the pattern; each tone swells and dies away, so that nothing cracks. */
export function ring(context: BaseAudioContext, danger: Danger, volume: number): void {
  const start = context.currentTime + 0.05
  for (const tone of PATTERNS[danger]) {
    const oscillator = context.createOscillator()
    const gain = context.createGain()
    const begin = start + tone.at
    oscillator.type = 'triangle'
    oscillator.frequency.setValueAtTime(tone.from, begin)
    oscillator.frequency.linearRampToValueAtTime(tone.to, begin + tone.lasts)
    gain.gain.setValueAtTime(0, begin)
    gain.gain.linearRampToValueAtTime(volume, begin + 0.03)
    gain.gain.setValueAtTime(volume, begin + tone.lasts - 0.05)
    gain.gain.linearRampToValueAtTime(0, begin + tone.lasts)
    oscillator.connect(gain).connect(context.destination)
    oscillator.start(begin)
    oscillator.stop(begin + tone.lasts + 0.02)
  }
}
