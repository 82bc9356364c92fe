/** Which critical alarm nobody has taken on yet: it takes the plan, the banner and the sound until somebody does. */
import type { ComputedRef, InjectionKey } from 'vue'
import { computed, inject, shallowRef } from 'vue'
import type { Alert, Order } from '../api/types'
import type { Live } from '../live/useLive'

export interface Takeover {
  /** The newest alarm that nobody has and that was not put aside on this screen. */
  alert: ComputedRef<Alert | null>
  order: ComputedRef<Order | null>
  /** All alarms that nobody has, put aside or not, newest first. */
  unattended: ComputedRef<readonly Alert[]>
  /** Puts this one aside on this screen; it stays on the plan and in the lists. */
  putAside(): void
}

export const TAKEOVER: InjectionKey<Takeover> = Symbol('takeover')

export function useTakeover(): Takeover {
  const takeover = inject(TAKEOVER)
  if (!takeover) throw new Error('no takeover above this component')
  return takeover
}

/** The order of each alert that has one. */
export function ordersByAlert(orders: Iterable<Order>): Map<string, Order> {
  const found = new Map<string, Order>()
  for (const order of orders) if (order.alert_id) found.set(order.alert_id, order)
  return found
}

/** Critical, standing, sent out, and taken on by nobody: newest first. */
export function unattendedOf(alerts: Iterable<Alert>, orders: ReadonlyMap<string, Order>): Alert[] {
  return [...alerts]
    .filter((alert) => {
      if (alert.severity !== 'critical' || alert.state === 'cleared') return false
      if (alert.shadow || (alert.held?.length ?? 0) > 0 || alert.acknowledged_at) return false
      return !orders.get(alert.id)?.accepted_at
    })
    .sort((a, b) => Date.parse(b.fired_at) - Date.parse(a.fired_at) || a.id.localeCompare(b.id))
}

export function createTakeover(live: Live): Takeover {
  const aside = shallowRef<ReadonlySet<string>>(new Set())
  const orders = computed(() => ordersByAlert(live.state.value?.orders.values() ?? []))
  const unattended = computed(() => unattendedOf(live.state.value?.alerts.values() ?? [], orders.value))
  const alert = computed(() => unattended.value.find((one) => !aside.value.has(one.id)) ?? null)
  return {
    alert,
    order: computed(() => (alert.value ? (orders.value.get(alert.value.id) ?? null) : null)),
    unattended,
    putAside() {
      const standing = unattended.value.map((one) => one.id).filter((id) => aside.value.has(id))
      if (alert.value) aside.value = new Set([...standing, alert.value.id])
    },
  }
}
