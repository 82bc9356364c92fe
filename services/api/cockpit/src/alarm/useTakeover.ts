/** Which critical alarm nobody has taken on yet: it takes the plan, the banner and the sound until somebody does. */
import type { ComputedRef, InjectionKey } from 'vue'
import { computed, inject, shallowRef } from 'vue'
import type { Alert, Order } from '../api/types'
import type { LinkStatus } from '../live/link'
import type { Live } from '../live/useLive'

/** Alarms that are worked on in one order, or one alarm that has none. */
export interface Incident {
  order: Order | null
  /** Those that nobody has, newest first. */
  alerts: readonly Alert[]
}

export interface Takeover {
  /** What stands for the newest incident that nobody has and that was not put aside on this screen. */
  alert: ComputedRef<Alert | null>
  order: ComputedRef<Order | null>
  /** All incidents that nobody has, put aside or not, newest first. */
  unattended: ComputedRef<readonly Incident[]>
  /** Puts this one aside on this screen, until another alarm joins it; it stays on the plan and in the lists. */
  putAside(): void
}

export const TAKEOVER: InjectionKey<Takeover> = Symbol('takeover')

export function useTakeover(): Takeover {
  const takeover = inject(TAKEOVER)
  if (!takeover) throw new Error('no takeover above this component')
  return takeover
}

/** The open order that each alert is worked on in: its own, or the one of the incident that it is a part of. */
export function ordersByAlert(
  alerts: Iterable<Alert>,
  orders: ReadonlyMap<string, Order>,
): Map<string, Order> {
  const found = new Map<string, Order>()
  // Its own first: what the alert says of its order may be a word behind.
  for (const order of orders.values()) if (order.alert_id) found.set(order.alert_id, order)
  for (const alert of alerts) {
    const order = alert.order_id ? orders.get(alert.order_id) : undefined
    if (order) found.set(alert.id, order)
  }
  return found
}

/** Critical, standing, sent out, and taken on by nobody: by incident, newest first. */
export function unattendedOf(alerts: Iterable<Alert>, orders: ReadonlyMap<string, Order>): Incident[] {
  const found = new Map<string, { order: Order | null; alerts: Alert[] }>()
  const standing = [...alerts]
    .filter((alert) => {
      if (alert.severity !== 'critical' || alert.state === 'cleared') return false
      if (alert.shadow || (alert.held?.length ?? 0) > 0 || alert.acknowledged_at) return false
      return !orders.get(alert.id)?.accepted_at
    })
    .sort((a, b) => Date.parse(b.fired_at) - Date.parse(a.fired_at) || a.id.localeCompare(b.id))
  for (const alert of standing) {
    const order = orders.get(alert.id) ?? null
    const key = order?.id ?? alert.id
    const incident = found.get(key)
    if (incident) incident.alerts.push(alert)
    else found.set(key, { order, alerts: [alert] })
  }
  return [...found.values()]
}

/** What an incident is shown as: the alert its order was opened for, or the newest; null: all were put aside. */
export function standsFor(incident: Incident, aside: ReadonlySet<string>): Alert | null {
  const left = incident.alerts.filter((one) => !aside.has(one.id))
  return left.find((one) => one.id === incident.order?.alert_id) ?? left[0] ?? null
}

export function createTakeover(live: Live): Takeover {
  const aside = shallowRef<ReadonlySet<string>>(new Set())
  const alerts = computed(() => [...(live.state.value?.alerts.values() ?? [])])
  const orders = computed(() => ordersByAlert(alerts.value, live.state.value?.orders ?? new Map()))
  const unattended = computed(() => unattendedOf(alerts.value, orders.value))
  const shown = computed(() => {
    for (const incident of unattended.value) {
      const alert = standsFor(incident, aside.value)
      if (alert) return { incident, alert }
    }
    return null
  })
  return {
    alert: computed(() => shown.value?.alert ?? null),
    order: computed(() => shown.value?.incident.order ?? null),
    unattended,
    putAside() {
      if (!shown.value) return
      const standing = unattended.value.flatMap((one) => one.alerts.map((alert) => alert.id))
      aside.value = new Set([
        ...standing.filter((id) => aside.value.has(id)),
        ...shown.value.incident.alerts.map((alert) => alert.id),
      ])
    },
  }
}

/** What the cockpit says to a room in front of it: the alarm that nobody has, and since when it could not know of one. */
export interface Standing {
  alert: Alert | null
  order: Order | null
  /** Other incidents that nobody has. */
  more: number
  /** Epoch ms when the server was last heard, where it is not heard now. */
  deafSince: number | null
}

/** In a room nothing can be put aside: an incident that nobody has stays in sight until somebody has it. */
export function standingOf(takeover: Takeover, deafSince: number | null): Standing {
  const [first] = takeover.unattended.value
  return {
    alert: first ? standsFor(first, new Set()) : null,
    order: first?.order ?? null,
    more: Math.max(0, takeover.unattended.value.length - 1),
    deafSince,
  }
}

/** Epoch ms of the server's latest word, where there should have been another. */
export function deafSinceOf(status: LinkStatus, heardAt: number): number | null {
  return (status === 'stale' || status === 'lost') && heardAt > 0 ? heardAt : null
}
