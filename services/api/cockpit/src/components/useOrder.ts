/** One order opened for reading and moving: its detail follows the stream, a move is sent once whatever the network does. */
import type { Ref } from 'vue'
import { computed, ref, shallowRef, watch } from 'vue'
import { ApiError, api } from '../api/client'
import { idempotencyKey } from '../api/key'
import type { Move, MoveIn, OrderDetail } from '../api/types'
import { named, t } from '../i18n'
import { useLive } from '../live/useLive'

export interface Outcome {
  ok: boolean
  text: string
}

export function useOrder(id: Ref<string>) {
  const live = useLive()
  const detail = shallowRef<OrderDetail | null>(null)
  const missing = ref(false)
  const busy = ref(false)
  const outcome = shallowRef<Outcome | null>(null)
  /** Kept while the same attempt is retried, so that the server can tell a repeat from a second wish. */
  let pending: { body: string; key: string } | null = null

  async function load(): Promise<void> {
    const asked = id.value
    try {
      const answer = await api.order(asked)
      if (asked !== id.value) return
      detail.value = answer
      missing.value = false
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) missing.value = true
    }
  }

  watch(
    id,
    () => {
      detail.value = null
      outcome.value = null
      pending = null
      void load()
    },
    { immediate: true },
  )
  watch(
    () => live.state.value?.orders.get(id.value)?.version,
    (version) => {
      if (detail.value && version !== detail.value.version) void load()
    },
  )
  watch(live.status, (status) => status === 'live' && void load())

  /** True when the move was made. */
  async function make(move: Move, inputs: Omit<MoveIn, 'move' | 'version'>): Promise<boolean> {
    if (!detail.value || busy.value) return false
    const body: MoveIn = { move, version: detail.value.version, ...inputs }
    const text = JSON.stringify([id.value, body])
    if (pending?.body !== text) pending = { body: text, key: idempotencyKey() }
    busy.value = true
    outcome.value = null
    const name = named('move_', move)
    try {
      const order = await api.move(id.value, body, pending.key)
      pending = null
      live.learn(order)
      detail.value = { ...detail.value, ...order }
      outcome.value = { ok: true, text: t('done', { move: name }) }
      void load()
      return true
    } catch (error) {
      outcome.value = { ok: false, text: await explain(error) }
      return false
    } finally {
      busy.value = false
    }
  }

  async function explain(error: unknown): Promise<string> {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 409) {
      pending = null
      await load()
      return t('conflict')
    }
    if (error.status === 422 || error.status === 403) {
      pending = null
      return t('refused', { detail: error.message })
    }
    return t('failed', { detail: error.status === 0 ? t('unreachable') : error.message })
  }

  return { detail: computed(() => detail.value), missing, busy, outcome, make }
}
