/** What a comparison of two rulebooks over history answers with: `linhub rules diff --json`. */
import type { Label } from '../../api/types'

export interface Told {
  id: string
  rule: string
  name: string
  fired_ms: number
  /** Null where the alert is about somebody's health. */
  why: Label | null
}

interface Sums {
  alerts: number
  orders: number
  orders_a_day: number
  suppressed: number
}

export interface Compared {
  a: Sums
  b: Sums
  added: Told[]
  removed: Told[]
  moved: [Told, Told][]
  changed: [Told, Told][]
  counts: Partial<Record<'same' | 'added' | 'removed' | 'moved' | 'changed', number>>
}

const SUMS = ['alerts', 'orders', 'orders_a_day', 'suppressed'] as const

/** Name, with the rules in force, with the text that was tried. */
export function sumsOf(found: Compared): [(typeof SUMS)[number], number, number][] {
  return SUMS.map((name) => [name, found.a[name], found.b[name]])
}
