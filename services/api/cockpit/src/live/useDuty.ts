/** Who is on duty, asked gently: once a minute while somebody looks, and when the link is back. */
import type { InjectionKey, ShallowRef } from 'vue'
import { inject, onUnmounted, shallowRef, watch } from 'vue'
import { ApiError, api } from '../api/client'
import type { OnDuty } from '../api/types'
import type { Live } from './useLive'

const EVERY_MS = 60_000

export const DUTY: InjectionKey<ShallowRef<OnDuty | null>> = Symbol('duty')

export function useDuty(): ShallowRef<OnDuty | null> {
  return inject(DUTY, () => shallowRef(null), true)
}

export function createDuty(community: string, permitted: boolean, live: Live): ShallowRef<OnDuty | null> {
  const duty = shallowRef<OnDuty | null>(null)
  if (!permitted) return duty
  async function ask(): Promise<void> {
    if (live.status.value !== 'live' || document.visibilityState === 'hidden') return
    try {
      duty.value = await api.onDuty(community)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
    }
  }
  const timer = setInterval(() => void ask(), EVERY_MS)
  onUnmounted(() => clearInterval(timer))
  watch(live.status, () => void ask(), { immediate: true })
  return duty
}
