/** One order opened for reading and moving: its detail follows the stream, a move is sent once whatever the network does. */
import type { Ref } from 'vue'
import { computed, ref, shallowRef, watch } from 'vue'
import { ApiError, api } from '../api/client'
import { idempotencyKey } from '../api/key'
import type { Move, MoveIn, Order, OrderDetail } from '../api/types'
import { named, t } from '../i18n'
import { inWords } from '../lib/refusals'
import { useLive } from '../live/useLive'

export interface Outcome {
  ok: boolean
  text: string
}

/** `reported`: residents reported it, and this reader may keep what they say when called back. */
export function useOrder(id: Ref<string>, reported: () => boolean = () => false) {
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
      const order = await sent(body, pending.key)
      pending = null
      live.learn(order)
      detail.value = { ...detail.value, ...order }
      outcome.value = { ok: true, text: t('done', { move: name }) }
      await load()
      return true
    } catch (error) {
      outcome.value = { ok: false, text: await explain(error) }
      return false
    } finally {
      busy.value = false
    }
  }

  function sent(body: MoveIn, key: string): Promise<Order> {
    const { move, version, reason, outcome, note } = body
    if (move === 'urge' && reason) return api.urge(id.value, { version, reason }, key)
    if (move === 'call_back' && outcome && reported()) {
      return api.callBack(id.value, note ? { version, outcome, note } : { version, outcome }, key)
    }
    return api.move(id.value, body, key)
  }

  /** The refusal in words; the order is shown as it stands now. */
  async function explain(error: unknown): Promise<string> {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 409) {
      pending = null
      const { current } = error.problem
      if (current && detail.value?.id === current.id) detail.value = { ...detail.value, ...current }
      const by = detail.value?.history.length ?? 0
      await load()
      if (!current && error.problem.errors?.[0]?.code) return t('refused', { detail: inWords(error) })
      const last = detail.value && detail.value.history.length > by ? detail.value.history.at(-1) : undefined
      const done = last ? t('conflict_by', { who: last.actor, move: named('move_', last.move) }) : ''
      return [t('conflict'), done].filter(Boolean).join(' ')
    }
    if (error.status === 422 || error.status === 403) {
      pending = null
      await load()
      return t('refused', { detail: inWords(error) })
    }
    return t('failed', { detail: inWords(error) })
  }

  return { detail: computed(() => detail.value), missing, busy, outcome, make, load }
}
