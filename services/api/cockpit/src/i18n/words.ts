/** The words of the pages that the API does not bring, Chinese and English side by side: one file an area. */
import type { ACCESS } from './areas/access'
import { ACCOUNT } from './areas/account'
import type { CITY } from './areas/city'
import { COCKPIT } from './areas/cockpit'
import type { COMMANDS } from './areas/commands'
import type { DESK } from './areas/desk'
import type { PEOPLE } from './areas/people'
import { PHONE } from './areas/phone'
import type { REGISTRY } from './areas/registry'
import { WALL } from './areas/wall'

export type Words = Readonly<Record<string, readonly [zh: string, en: string]>>

/** What every page brings, the phone's too: it is to be small, so the words of rooms are not among these. */
export const COMMON = { ...COCKPIT, ...ACCOUNT, ...WALL, ...PHONE } as const satisfies Words

type Of<Areas> = Areas extends unknown ? keyof Areas : never
export type Word = Of<
  | typeof COMMON
  | typeof ACCESS
  | typeof CITY
  | typeof COMMANDS
  | typeof DESK
  | typeof PEOPLE
  | typeof REGISTRY
>

export const WORDS = { ...COMMON } as Words as Record<Word, readonly [zh: string, en: string]>

/** Adds an area, before anything that says its words is loaded. */
export function teach(words: Words): void {
  Object.assign(WORDS, words)
}
