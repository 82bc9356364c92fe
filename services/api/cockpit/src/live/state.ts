/** What the page knows of its community: a value that events fold into, never changed in place. */
import type {
  Alert,
  Community,
  Device,
  DeviceDelta,
  Kpis,
  Order,
  OrderState,
  Plan,
  Snapshot,
  StreamEvent,
} from '../api/types'

export interface State {
  readonly cursor: number
  /** Build of the server that answered; another one means this page is old. */
  readonly build: string
  /** The server's time at its latest word. */
  readonly at: string
  readonly community: Community
  readonly plan: Plan
  readonly devices: ReadonlyMap<string, Device>
  readonly devicesAt: string
  /** Open alerts only. */
  readonly alerts: ReadonlyMap<string, Alert>
  /** Open orders only. */
  readonly orders: ReadonlyMap<string, Order>
  readonly kpis: Kpis
  /** The latest clearing seen while this page was open: since when all may have been well. */
  readonly lastClearedAt: string | null
}

const ENDED: ReadonlySet<OrderState> = new Set(['closed', 'cancelled', 'false_alarm', 'merged'])

export function isEnded(state: OrderState): boolean {
  return ENDED.has(state)
}

export function fromSnapshot(snapshot: Snapshot, before: State | null): State {
  return {
    cursor: snapshot.cursor,
    build: snapshot.build,
    at: snapshot.at,
    community: snapshot.community,
    plan: snapshot.plan,
    devices: new Map(snapshot.devices.map((device) => [device.id, device])),
    devicesAt: snapshot.at,
    alerts: new Map(
      snapshot.alerts.filter((alert) => alert.state !== 'cleared').map((alert) => [alert.id, alert]),
    ),
    orders: new Map(
      snapshot.orders.filter((order) => !isEnded(order.state)).map((order) => [order.id, order]),
    ),
    kpis: snapshot.kpis,
    lastClearedAt: before?.lastClearedAt ?? null,
  }
}

/** The state after the event. An older word about an order or an alert than the known one changes nothing. */
export function fold(state: State, event: StreamEvent, cursor: number | null = null): State {
  const next = apply(state, event)
  return cursor !== null && cursor > next.cursor ? { ...next, cursor } : next
}

function apply(state: State, event: StreamEvent): State {
  switch (event.type) {
    case 'hello':
    case 'hb':
      return { ...state, at: event.data.at }
    case 'kpis':
      return { ...state, at: later(state.at, event.data.at), kpis: event.data }
    case 'alert':
      return withAlert(state, event.data)
    case 'order':
      return withOrder(state, event.data)
    case 'devices': {
      const devices = new Map(state.devices)
      for (const delta of event.data.items) {
        const known = devices.get(delta.id)
        // A device the snapshot did not hold has no place on the plan; the next snapshot brings it.
        if (known) {
          devices.set(delta.id, heardFrom(known, delta))
        }
      }
      return { ...state, at: later(state.at, event.data.at), devices, devicesAt: event.data.at }
    }
    case 'resync':
      return state
  }
}

/** Written out, since thousands may come at once: copying by spreading takes three times as long. */
function heardFrom(known: Device, delta: DeviceDelta): Device {
  return {
    id: known.id,
    kind: known.kind,
    name: known.name,
    place: known.place,
    x: known.x,
    y: known.y,
    floor: known.floor,
    building_id: known.building_id,
    gateway_id: known.gateway_id,
    tags: known.tags,
    online: delta.online,
    last_seen_at: delta.ts ?? known.last_seen_at,
    ts: delta.ts,
    values: covers(delta.values, known.values) ? delta.values : { ...known.values, ...delta.values },
    last_event: delta.last_event,
    last_event_at: delta.last_event_at,
  }
}

function covers(values: Device['values'], others: Device['values']): boolean {
  for (const name in others) if (!(name in values)) return false
  return true
}

function withAlert(state: State, alert: Alert): State {
  const known = state.alerts.get(alert.id)
  if (known && Date.parse(known.last_at) > Date.parse(alert.last_at) && alert.state !== 'cleared')
    return state
  const alerts = new Map(state.alerts)
  if (alert.state === 'cleared') {
    alerts.delete(alert.id)
    return { ...state, alerts, lastClearedAt: latest(state.lastClearedAt, alert.cleared_at) }
  }
  alerts.set(alert.id, { ...alert, order_id: alert.order_id ?? known?.order_id ?? null })
  return { ...state, alerts }
}

function withOrder(state: State, order: Order): State {
  const known = state.orders.get(order.id)
  if (known && known.version > order.version) return state
  const orders = new Map(state.orders)
  if (isEnded(order.state)) orders.delete(order.id)
  else orders.set(order.id, order)
  const { state: moved, merged_into: into } = order
  return {
    ...state,
    orders,
    alerts: moved === 'merged' && into ? worked(state.alerts, order.id, into) : state.alerts,
  }
}

/** What was worked on in an order goes over with it to the one it was merged into; no event of its own says so. */
function worked(alerts: ReadonlyMap<string, Alert>, from: string, into: string): ReadonlyMap<string, Alert> {
  const found = new Map(alerts)
  for (const alert of alerts.values())
    if (alert.order_id === from) found.set(alert.id, { ...alert, order_id: into })
  return found
}

function later(one: string, other: string): string {
  return Date.parse(other) > Date.parse(one) ? other : one
}

function latest(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other
  return later(one, other)
}
