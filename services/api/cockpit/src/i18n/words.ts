/** Every word of the pages that the API does not bring, Chinese and English side by side: one file an area. */
import { ACCESS } from './areas/access'
import { ACCOUNT } from './areas/account'
import { COCKPIT } from './areas/cockpit'
import { DATA } from './areas/data'
import { DESK } from './areas/desk'
import { PEOPLE } from './areas/people'
import { PHONE } from './areas/phone'
import { REGISTRY } from './areas/registry'
import { WALL } from './areas/wall'

export const WORDS = {
  ...COCKPIT,
  ...ACCOUNT,
  ...ACCESS,
  ...REGISTRY,
  ...PEOPLE,
  ...DATA,
  ...WALL,
  ...DESK,
  ...PHONE,
} as const satisfies Record<string, readonly [zh: string, en: string]>

export type Word = keyof typeof WORDS
