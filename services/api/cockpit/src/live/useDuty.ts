/** Who is on duty, asked gently: once a minute, and when the link is back. */
import type { InjectionKey, ShallowRef } from 'vue'
import { inject, shallowRef } from 'vue'
import { api } from '../api/client'
import type { OnDuty } from '../api/types'
import type { Live } from './useLive'
import { usePolled } from './usePolled'

const EVERY_MS = 60_000

export const DUTY: InjectionKey<ShallowRef<OnDuty | null>> = Symbol('duty')

export function useDuty(): ShallowRef<OnDuty | null> {
  return inject(DUTY, () => shallowRef(null), true)
}

export function createDuty(community: string, permitted: boolean, live: Live): ShallowRef<OnDuty | null> {
  return permitted ? usePolled(live, EVERY_MS, () => api.onDuty(community)).value : shallowRef(null)
}
